"""What may be rated: pictures of this store that their owners put there, samples folders, and held-out real images.

A real image stands in for a synthetic one of the same modality, and of the same organ and label where there is such,
and is shown at that one's size: so neither kind, size nor number of channels tells one from the other. Nor do words:
where there are real images, all are told by what is known of both kinds, organ and label, in the words of one function.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import groupby
from pathlib import Path

from vesalius.data.datasets.split import place_of
from vesalius.data.images.image import image_shape
from vesalius.data.record import Record, digest_file, metadata_files, stream_records
from vesalius.data.tables.labels import LABEL_WORDS, bare
from vesalius.data.texts.prompt import clean
from vesalius.demo.config import DemoConfig
from vesalius.demo.sentences import Refusal
from vesalius.demo.store.pictures import file_of, find_picture
from vesalius.demo.store.schema import Store
from vesalius.eval.readers.choice import Candidate, Strata, of_record, of_sample
from vesalius.eval.shown import shown_image, stored_png
from vesalius.inference.sample import stream_samples

log = logging.getLogger(__name__)
HELD_OUT = ("val", "test")
"""Splits of real images that no model was trained on."""
BLOCK = 40
"""Pictures that all raters see before the next ones, each in an order of their own: raters who do not see all still
see the same ones, without which nothing is known of their agreement."""
MOST_EDGE = 1024
MOST_TEXT = 600


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What may be rated, by digest. unread: of which options a folder cannot be read."""

    synthetic: Mapping[str, Candidate]
    real: Mapping[str, Candidate]
    unread: tuple[str, ...] = ()
    groups: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def find(self, sha256: str) -> Candidate | None:
        """A picture by its digest."""
        return self.synthetic.get(sha256) or self.real.get(sha256)

    def told(self, picture: Candidate) -> str:
        """What a rater reads of one picture among others: its own text where all are synthetic; else modality, organ
        and label, so far as there are pictures of both kinds that these words fit."""
        if not self.real:
            return picture.text
        is_common = (picture.modality, picture.organ, picture.label) in self._common
        return worded(picture.modality, *((picture.organ, picture.label) if is_common else ("", "")))

    @cached_property
    def _common(self) -> set[tuple[str, str, str]]:
        kinds = ({(c.modality, c.organ, c.label) for c in each.values()} for each in (self.synthetic, self.real))
        return set.intersection(*kinds)

    def stand_in(self, shown: Candidate, seen: set[str], seed: str) -> Candidate | None:
        """A real image that this rater has not seen, as like to a synthetic one as there is; None where there is none
        that is told in the same words, large enough."""
        words = self.told(shown)
        alike = [c for d, c in self.real.items() if d not in seen and self.told(c) == words]
        patients = {c.patient for d, c in self.real.items() if d in seen and c.patient}

        def distance(c: Candidate) -> tuple[bool, bool, bool, float]:
            return (
                c.hounsfield != shown.hounsfield, c.stratum != shown.stratum, c.patient in patients,
                place_of(f"{seed}/{c.sha256}"),
            )  # fmt: skip

        size = edge_of(shown)
        return next((c for c in sorted(alike, key=distance) if _reaches(c, size)), None)


def worded(modality: str, organ: str, label: str) -> str:
    """What a picture shows: `CT: chest, nodule`; the same words for the same facts, whatever it is."""
    known = LABEL_WORDS["en"]
    key = next((k for k in (f"{modality}/{organ}/{label}", f"{modality}/{label}", label) if k in known), None)
    rest = ", ".join(filter(None, (organ, bare(known[key][0]) if key else label.replace("_", " "))))
    return f"{modality}: {rest}" if rest else modality


def check_folders(config: DemoConfig) -> None:
    """ValueError where a folder of what is to be rated is none; asked when the page is made."""
    for folder in config.real:
        metadata_files(folder)
    for folder in config.rate:
        next(stream_samples(folder))


def open_pool(config: DemoConfig, store: Store) -> Pool:
    """What may be rated by now. Folders are read again where they were written anew."""
    real, strata, unread = _real(config.real, _stamp(config.real))
    drawn, told = _drawn(config.rate, _stamp(config.rate), strata)
    synthetic = {**drawn, **_put(store, strata)}
    return Pool(synthetic=synthetic, real=real, unread=(*unread, *told), groups=_groups(synthetic.values()))


def edge_of(picture: Candidate) -> int:
    """The edge in pixels at which a picture is shown: its own shorter one."""
    return min(*_shape(picture.path), MOST_EDGE)


def picture_png(picture: Candidate, size: int) -> bytes:
    """A picture as all are shown: a PNG whose length tells its shape alone, and that holds nothing but pixels."""
    return stored_png(shown_image(picture.path, picture.modality, size, hounsfield=picture.hounsfield))


def in_order(digests: Iterable[str], seed: str) -> list[str]:
    """Digests as a rater meets them: in blocks that are the same for all, each block in an order of the rater's own."""
    common = sorted(digests)
    common.sort(key=place_of)
    blocks = [common[i : i + BLOCK] for i in range(0, len(common), BLOCK)]
    return [d for block in blocks for d in sorted(block, key=lambda d: place_of(f"{seed}/{d}"))]


def put_to_rating(store: Store, account: str, pictures: Sequence[str], on: bool = True) -> int:
    """Let raters see some pictures of a person's, or no longer; returns how many of theirs they may see. ValueError
    where one is none of that person's."""
    with store.write() as db:
        for picture in pictures:
            mine = db.execute("SELECT 1 FROM pictures WHERE id = ? AND account = ?", [picture, account]).fetchone()
            if mine is None:
                raise Refusal("This picture is no longer here, or is someone else's", "该图像已不在此处，或属于他人")
            if on:
                db.execute("INSERT INTO to_rate VALUES (?, ?) ON CONFLICT DO NOTHING", [picture, time.time()])
            else:
                db.execute("DELETE FROM to_rate WHERE picture = ?", [picture])
    return len(pictures_put(store, account))


def pictures_put(store: Store, account: str) -> set[str]:
    """The pictures of a person's that raters may see."""
    with store.read() as db:
        rows = db.execute(
            "SELECT id FROM pictures JOIN to_rate ON to_rate.picture = pictures.id WHERE account = ?", [account]
        )
        return {row["id"] for row in rows}


def _put(store: Store, strata: Strata) -> dict[str, Candidate]:
    found = {}
    with store.read() as db:
        rows = db.execute("SELECT id, account FROM pictures JOIN to_rate ON to_rate.picture = pictures.id").fetchall()
    for row in rows:
        try:
            picture = find_picture(store, row["account"], row["id"])
            sample = picture.sample
            units = sample.raw16_sha256 is not None
            path = file_of(store, picture, units=units)
        except ValueError:
            continue  # deleted meanwhile
        organ, label = strata.find(sample.modality, sample.text, sample.findings)
        found[sample.sha256] = Candidate(
            path=path, origin="synthetic", modality=sample.modality, label=label, organ=organ,
            text=sample.text, sha256=sample.sha256, hounsfield=units,
        )  # fmt: skip
    return found


@lru_cache(maxsize=4)
def _real(folders: tuple[Path, ...], _stamp: object) -> tuple[dict[str, Candidate], Strata, tuple[str, ...]]:
    """Held-out images that are not synthetic and have a text, and what records say of kinds."""
    found: dict[str, Candidate] = {}
    records: list[Record] = []
    unread = []
    for folder in folders:
        try:
            mine = [r for r in stream_records(folder) if r.origin != "synthetic"]
        except (ValueError, OSError) as error:
            log.warning("--real: %s", error)
            unread.append("--real")
            continue
        records += mine
        for record in mine:
            # Not a wording for training: that may begin with what is known of its greys, as no other text does.
            each = dataclasses.replace(of_record(folder, record), text=clean(record.caption or record.text))
            if record.split in HELD_OUT and each.text and each.path.is_file():
                digest = each.sha256 or digest_file(each.path)
                found[digest] = dataclasses.replace(each, sha256=digest)
    return found, Strata(records), tuple(unread)


@lru_cache(maxsize=4)
def _drawn(
    folders: tuple[Path, ...], _stamp: object, strata: Strata
) -> tuple[dict[str, Candidate], tuple[str, ...]]:  # fmt: skip
    found, unread = {}, []
    for folder in folders:
        try:
            for sample in stream_samples(folder):
                if sample.sha256:
                    found[sample.sha256] = of_sample(folder, sample, strata)
        except (ValueError, OSError) as error:
            log.warning("--rate: %s", error)
            unread.append("--rate")
    return found, tuple(unread)


def _stamp(folders: Iterable[Path]) -> tuple[int, ...]:
    files = [p for f in folders for p in (f / "metadata.jsonl", f / "manifest.json")]
    return tuple(p.stat().st_mtime_ns if p.is_file() else 0 for p in files)


def _groups(pictures: Iterable[Candidate]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Prompts of which there are several pictures, and these."""

    def prompt(c: Candidate) -> tuple[str, str]:
        return c.modality, c.text

    rows = sorted(pictures, key=lambda c: (*prompt(c), c.sha256))
    groups = {key: tuple(c.sha256 for c in members) for key, members in groupby(rows, key=prompt)}
    return {key: members for key, members in groups.items() if len(members) > 1}


def _reaches(picture: Candidate, size: int) -> bool:
    """Whether a picture is there, and need not be enlarged, which would show."""
    try:
        return min(_shape(picture.path)) >= size
    except (ValueError, OSError):
        return False


@lru_cache(maxsize=100_000)
def _shape(path: Path) -> tuple[int, int]:
    return image_shape(path)
