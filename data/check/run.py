"""`vesalius data check`: whether a dataset folder is what it says, before anything is trained on it.

One pass over rows and images, in memory that grows by some hundred bytes an image: hashes, not names. What is told by
name is looked up in a second pass over the rows.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from vesalius.data.building.journal import read_object
from vesalius.data.check.texts import Texts
from vesalius.data.command.counted import counted
from vesalius.data.command.fields import Settled
from vesalius.data.command.progress import progress
from vesalius.data.datasets.card import Tally, write_card
from vesalius.data.datasets.shards import stream_members
from vesalius.data.datasets.streamed import shards_of
from vesalius.data.modality import find_modality
from vesalius.data.record import Record, digest_file, write_atomic, write_json
from vesalius.data.sources.inside import own_file
from vesalius.data.texts.lengths import Lengths, TextLengths, Tokenizer

if TYPE_CHECKING:
    from vesalius.data.check.page import Sheet
    from vesalius.data.images.image import Uint8

MOST_LINES = 20
"""How many problems of one kind are told one by one."""


@dataclass(frozen=True, kw_only=True)
class CheckConfig(Settled):
    """Read a dataset folder, every row and every image, and tell what must be mended before anything learns from it."""

    folder: tyro.conf.Positional[Path]
    """dataset folder, as `vesalius data build` or `vesalius data phantom` writes it, or shards of `data export`"""
    page: Path | None = None
    """HTML page to write: counts, charts, and small pictures of what is suspicious"""
    base: str | None = "nano"
    """base model in whose tokens the lengths of texts are told; none: in words"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """only look: do not write card.md and croissant.json into the folder"""


@dataclass(frozen=True, kw_only=True)
class CheckSummary:
    """What a check found. problems: what must be mended, each with its file; warnings: what one should know.

    num_repeated: images that repeat another pixel by pixel; num_alike: pairs that look alike; num_alike_across: those
    of them in two splits. num_flawed: nearly blank or clipped images. num_implausible: records that cannot be.
    """

    folder: tyro.conf.Positional[Path]
    """that was checked"""
    num_records: int
    """records in all"""
    splits: dict[str, int]
    """records by split"""
    modalities: dict[str, int]
    """records by modality"""
    labels: dict[str, int]
    """by modality and label"""
    origins: dict[str, int]
    """by origin"""
    num_patients: int
    """patients, as far as they are named"""
    texts: TextLengths
    """how long the texts are"""
    num_repeated: int = 0
    num_alike: int = 0
    num_alike_across: int = 0
    num_flawed: int = 0
    num_implausible: int = 0
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


def check_dataset(config: CheckConfig, tokenizer: Tokenizer | None = None) -> CheckSummary:
    """Read every row and every image of a dataset folder, or of shards. ValueError where it is no dataset at all.

    tokenizer: counts the tokens of texts; without one words are counted. Writes card.md and croissant.json beside the
    images, and the page where one is asked for.
    """
    root = config.folder
    problems = _check_manifest(root)
    look = _Look(root, Lengths(tokenizer))
    members = enumerate(stream_members(root))
    for number, (record, content) in progress(members, "data check", _num_records(root), quiet=config.json):
        look.add(number, record, content)
    num_alike, across = look.compare()
    tally = look.tally
    for key in tally.patients.divided():
        look.divided.add(f"{root}: patient or group '{key}' is in more than one split; build again with --resplit")
    for lines in (look.broken, look.leaks, look.across, look.divided):
        problems += lines.told()
    warnings = [line for lines in (look.flawed, look.implausible, look.alike) for line in lines.told()]
    if look.num_repeated:
        told = counted(look.num_repeated, "image repeats", "images repeat")
        warnings.append(f"{told} another one pixel by pixel")
    warnings += [
        *_balance(tally.splits, tally.modalities, tally.labels),
        *look.texts.told(r for r, _ in stream_members(root)),
    ]
    summary = CheckSummary(
        folder=root,
        num_records=tally.num_records,
        splits=dict(tally.splits),
        modalities=dict(tally.modalities.most_common()),
        labels=dict(tally.labels.most_common()),
        origins=dict(tally.origins),
        num_patients=tally.num_patients,
        texts=look.lengths.summary(),
        num_repeated=look.num_repeated,
        num_alike=num_alike,
        num_alike_across=across,
        num_flawed=look.flawed.count,
        num_implausible=look.implausible.count,
        problems=tuple(problems),
        warnings=tuple(warnings),
    )
    if not config.dry_run:
        summary = _write(root, summary, tally)
    if config.page is not None:
        _write_page(config.page, summary, tally, look.sheets)
    return summary


class _Lines:
    """Messages of one kind: the first of them, and how many there are."""

    def __init__(self, what: str, most: int = MOST_LINES) -> None:
        self.what, self.most, self.count, self.first = what, most, 0, list[str]()

    def add(self, line: str) -> None:
        self.count += 1
        if len(self.first) < self.most:
            self.first.append(line)

    def told(self) -> list[str]:
        rest = self.count - len(self.first)
        return [*self.first, f"... and {rest} more {self.what}"] if rest else self.first


class _Look:
    """What one pass over the records gathers."""

    def __init__(self, root: Path, lengths: Lengths) -> None:
        from vesalius.data.check.page import Sheet
        from vesalius.data.images.duplicates import Lookalikes

        self.root, self.tally, self.lengths, self.lookalikes = root, Tally(), lengths, Lookalikes()
        self.texts = Texts()
        self.broken = _Lines("problems of single records")
        self.leaks, self.across = _Lines("images in two splits"), _Lines("images that look alike in two splits")
        self.divided, self.flawed = _Lines("patients in two splits"), _Lines("images that are nearly blank or clipped")
        self.implausible = _Lines("records that cannot be")
        self.alike = _Lines("pairs of images that look alike", 3)  # neighbours of one volume, mostly
        self.num_repeated = 0
        self._first: dict[int, int] = {}  # of each different image, by the hash of its pixels
        self._splits: list[str] = []
        self._split_of = bytearray()  # of each record, as a place in _splits
        self._repeats: list[tuple[int, str, str]] = []
        self.sheets: dict[str, Sheet] = {
            "leaks": Sheet(title="The same image in two splits", text="Keep each in one split."),
            "across": Sheet(title="Alike, in two splits", text="Copies of one image, or neighbours of one volume."),
            "alike": Sheet(title="Alike, in one split", text="Worth knowing: what is repeated is learnt more often."),
            "implausible": Sheet(title="Labels that cannot be", text="A finding, side, size or text to look at."),
            "flawed": Sheet(title="Nearly blank or clipped", text="Images that show hardly anything."),
        }

    def add(self, number: int, record: Record, content: bytes | None) -> None:
        from vesalius.data.check.page import Suspect
        from vesalius.data.check.plausible import implausible
        from vesalius.data.images.exposure import exposure

        path = self.root / record.file_name
        self.tally.add(record)
        self.lengths.add(record.text)
        self.texts.add(record)
        if record.split not in self._splits:
            self._splits.append(record.split)
        self._split_of.append(self._splits.index(record.split))
        if not record.text.strip():
            self.broken.add(f"{path}: its text is empty; fill it or remove the row")
        try:
            find_modality(record.modality)
        except ValueError as error:
            self.broken.add(f"{path}: {error}")
        if reasons := implausible(record):
            self.implausible.add(f"{path}: {'; '.join(reasons)}")
            suspect = Suspect(file_names=(record.file_name,), note="; ".join(reasons), text=record.text)
            self.sheets["implausible"].add(suspect)
        image = self._open(record, path, content)
        if image is None:
            return
        if flaw := exposure(image):
            self.flawed.add(f"{path}: {flaw}")
            self.sheets["flawed"].add(Suspect(file_names=(record.file_name,), note=flaw))
        first = self._first.setdefault(hash((image.shape, image.tobytes())), number)
        if first == number:
            self.lookalikes.add(number, image)
            return
        self.num_repeated += 1
        if self._split_of[first] != self._split_of[number]:
            self.leaks.count += 1
            if len(self._repeats) < MOST_LINES:
                self._repeats.append((first, record.file_name, record.split))

    def _open(self, record: Record, path: Path, content: bytes | None) -> Uint8 | None:
        """The image, HWC uint8; None where it is not there, not whole or blank."""
        import hashlib

        from vesalius.data.images.exposure import is_blank
        from vesalius.data.images.image import read_image

        try:
            if content is None:
                if record.mask:
                    own_file(self.root, record.mask)
                content = own_file(self.root, record.file_name).read_bytes()
            image = read_image(path, content)
        except ValueError as error:
            self.broken.add(str(error))
            return None
        if record.sha256 and hashlib.sha256(content).hexdigest() != record.sha256:
            self.broken.add(f"{path}: its sha256 is not the one of its row; the image was changed, build again")
        if is_blank(image):
            self.broken.add(f"{path}: blank, every pixel is {image.min()}; remove it")
            return None
        return image

    def compare(self) -> tuple[int, int]:
        """Find the images that look alike; their number of pairs, and that in two splits."""
        import numpy as np

        from vesalius.data.check.page import Suspect

        pairs = self.lookalikes.pairs()
        split_of = np.frombuffer(bytes(self._split_of), np.uint8)
        crossing = split_of[pairs[:, 0]] != split_of[pairs[:, 1]]
        inside = pairs[~crossing][:MOST_LINES].tolist()
        crossed = pairs[crossing][:MOST_LINES].tolist()
        records = self._named({n for pair in inside + crossed for n in pair} | {n for n, _, _ in self._repeats})
        for first, name, split in self._repeats:
            one = records[first]
            self.leaks.first.append(
                f"{self.root / one.file_name}: the same image is in {one.split} ({one.file_name}), {split} ({name}); "
                "keep it in one split"
            )
            self.sheets["leaks"].add(Suspect(file_names=(one.file_name, name), note=f"{one.split}, {split}"))
        for lines, sheet, found, total in (
            (self.across, "across", crossed, int(crossing.sum())),
            (self.alike, "alike", inside, int((~crossing).sum())),
        ):
            for a, b in found:
                one, two = records[a], records[b]
                lines.add(
                    f"{self.root / one.file_name} ({one.split}) looks like {two.file_name} ({two.split})"
                    + ("; keep both in one split, or remove one" if sheet == "across" else "")
                )
                patients = f"; patients {one.patient_id}, {two.patient_id}" if one.patient_id or two.patient_id else ""
                note = f"{one.split}, {two.split}{patients}"
                self.sheets[sheet].add(Suspect(file_names=(one.file_name, two.file_name), note=note))
            lines.count = total
        return len(pairs), int(crossing.sum())

    def _named(self, numbers: set[int]) -> dict[int, Record]:
        """Records by their numbers."""
        if not numbers:
            return {}
        members = itertools.islice(stream_members(self.root), max(numbers) + 1)
        return {number: record for number, (record, _) in enumerate(members) if number in numbers}


def _num_records(root: Path) -> int:
    manifest = root / "manifest.json"
    splits = read_object(manifest).get("splits") if manifest.is_file() else None
    return sum(facts["num_records"] for facts in splits.values() if _is_told(facts)) if isinstance(splits, dict) else 0


def _is_told(facts: object) -> bool:
    return isinstance(facts, dict) and type(facts.get("num_records")) is int


def _check_manifest(root: Path) -> list[str]:
    path = root / "manifest.json"
    if root.is_dir() and not path.is_file():
        return [f"{root}: no manifest.json, so the folder may be half-written; run its `vesalius data build` again"]
    splits = read_object(path).get("splits") if path.is_file() else {}
    if not isinstance(splits, dict) or not all(_is_told(facts) for facts in splits.values()):
        return [f"{path}: damaged, it names no splits; build the dataset again"]
    problems = []
    shards = shards_of(root)
    for name, facts in shards.items():
        if not (root / name).is_file():
            raise ValueError(f"{root / name}: missing, the manifest names {facts['num_records']} records there")
        if digest_file(root / name) != facts["sha256"]:
            problems.append(f"{root / name}: changed since the manifest was written; export the dataset again")
    if shards:
        return problems
    for split, facts in splits.items():
        rows = root / split / "metadata.jsonl"
        if not rows.is_file():
            problems.append(f"{rows}: missing, the manifest names {facts['num_records']} records there; build again")
        elif digest_file(rows) != facts.get("sha256"):
            problems.append(f"{rows}: changed since the manifest was written; build again, or undo the change")
    for rows in sorted(root.glob("*/metadata.jsonl")):
        if rows.parent.name not in splits:
            problems.append(f"{rows}: not in the manifest; remove it or build again")
    return problems


def _balance(splits: Counter[str], modalities: Counter[str], labels: Counter[str]) -> list[str]:
    warnings = [f"split '{s}' is empty" for s in ("train", "val", "test") if not splits[s]]
    for what, counts in (("modality", modalities), ("label", labels)):
        if len(counts) > 1:
            (most, top), (least, low) = counts.most_common()[0], counts.most_common()[-1]
            if top > 20 * low:
                warnings.append(f"{what} '{least}' has {low} records, '{most}' {top}: weight or balance them")
    return warnings


def measured(summary: CheckSummary) -> list[str]:
    """What a check measured, as sentences for people and for the card."""
    texts = summary.texts
    cut = (
        f"; {100 * texts.share_cut:.1f} % are longer than one context of {texts.context}, which plain pipelines cut"
        if texts.context
        else ""
    )
    return [
        f"Texts have {texts.median} {texts.unit} (median), {texts.percentile_95} at the 95th percentile, "
        f"{texts.longest} at most{cut}.",
        f"{counted(summary.num_repeated, 'image repeats', 'images repeat')} another pixel by pixel; "
        f"{counted(summary.num_alike, 'pair looks', 'pairs look')} alike, "
        f"{summary.num_alike_across} of them in two splits.",
        f"{counted(summary.num_flawed, 'image is', 'images are')} nearly blank or clipped; "
        f"{counted(summary.num_implausible, 'record has', 'records have')} labels that cannot be.",
    ]


def _write(root: Path, summary: CheckSummary, tally: Tally) -> CheckSummary:
    """card.md and croissant.json; a folder that cannot be written to costs a warning."""
    from vesalius.data.datasets.croissant import croissant

    manifest = read_object(root / "manifest.json") if (root / "manifest.json").is_file() else {}
    made = manifest.get("build") or {}
    card = write_card(
        root.resolve().name, tally, made.get("num_quarantined", 0), made.get("notes", ()), measured(summary)
    )
    try:
        write_atomic(root / "card.md", card.encode())
        write_json(root / "croissant.json", croissant(root, tally))
    except OSError as error:
        line = f"{root}: card.md and croissant.json were not written ({error.strerror}); --dry-run leaves them out"
        return dataclasses.replace(summary, warnings=(*summary.warnings, line))
    return summary


def _write_page(path: Path, summary: CheckSummary, tally: Tally, sheets: dict[str, Sheet]) -> None:
    from vesalius.data.check.page import Chart, chart, write_check_page

    counted: Sequence[tuple[str, dict[str, int]]] = (
        ("Records by split", summary.splits),
        ("By modality", summary.modalities),
        ("By label", summary.labels),
        ("By source and licence", dict(tally.sources.most_common())),
        (f"Texts by length in {summary.texts.unit}", summary.texts.histogram),
    )
    charts: list[Chart] = [chart(title, counts) for title, counts in counted if counts]
    subtitle = f"{summary.num_records:,} records of {summary.num_patients:,} patients. {' '.join(measured(summary))}"
    write_check_page(path, summary.folder, subtitle, summary.problems, summary.warnings, charts, list(sheets.values()))
