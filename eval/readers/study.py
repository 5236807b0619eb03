"""A blinded reader study: real and synthetic images that only their pixels can tell apart, as one page.

    make_study(config)      DIR/page/index.html for the readers, DIR/key.json and DIR/pictures/ for whoever scores

The page needs no network and no server. What could give an answer away is the same for all: one size, one number of
channels for a modality, 8 bits, PNGs without metadata whose bytes are stored and not compressed, so that their length
says nothing; names that are places in the order. CT in Hounsfield units goes through one window, whatever its text
says. The text is shown after the answer is fixed, for wording tells much.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.data.command.page import write_html
from vesalius.data.images.image import image_shape
from vesalius.data.record import digest_file, load_records, read_state, write_atomic, write_json
from vesalius.eval.readers.choice import Candidate, Strata, arrange, balance_of, choose, of_record, of_sample, whole
from vesalius.eval.readers.config import ReadersMakeConfig
from vesalius.eval.shown import shown_image, stored_png
from vesalius.inference.sample import load_samples

FORMAT = "vesalius-readers-1"
MOST_BYTES = 100_000_000
"""Of a page: what a telephone still opens."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One place in the order. item: its name. picture: sha256 of the PNG that is shown. repeat_of: the item that shows
    the same image first, "" where this is the first."""

    item: str
    picture: str
    sha256: str
    origin: str
    modality: str
    label: str
    text: str
    file: str
    repeat_of: str = ""

    @property
    def is_synthetic(self) -> bool:
        return self.origin == "synthetic"


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """What was made. strata: images by "modality, label", half of them real. notes: what a reader could exploit."""

    path: Path
    """the study's folder"""
    study: str
    """digest that names it"""
    num: int
    """different images"""
    num_repeats: int
    """images that come a second time"""
    size: int
    """pixels along an edge"""
    num_bytes: int
    """size of the page"""
    strata: dict[str, int]
    notes: tuple[str, ...]
    unchanged: bool = False
    """it was there already"""


def make_study(config: ReadersMakeConfig) -> StudySummary:
    """Choose, draw up and write a study; the same line again changes nothing.

    ValueError where the folders are none, where too few images are of the same modality and label, where a sample was
    changed since it was drawn, or where the folder holds something else.
    """
    check(config)
    records = load_records(config.real)
    real = [of_record(config.real, r) for r in records if r.origin != "synthetic" and r.split == config.split]
    if not real:
        raise ValueError(f"{config.real}: split '{config.split}' has no image that is not synthetic; name another")
    strata = Strata(records)
    synthetic = [of_sample(config.samples, s, strata) for s in load_samples(config.samples)]
    chosen, notes = choose(real, synthetic, config.num, config.seed)
    chosen = [whole(c) for c in chosen]
    edges = [min(image_shape(c.path)) for c in chosen]
    size = config.size or min(edges)
    if min(edges) < size:
        notes.append(f"{sum(e < size for e in edges)} images are enlarged to {size} pixels, which shows")
    if any(c.origin == "phantom" for c in chosen):
        notes.append("phantoms stand for real images")
    order = arrange(chosen, round(config.repeats * len(chosen)), config.seed)
    window = None if config.window == "wide" else config.window
    pictures = {
        id(c): stored_png(shown_image(c.path, c.modality, size, window=window, hounsfield=c.hounsfield)) for c in chosen
    }
    shown = _shown(order, pictures)
    study = hashlib.blake2b(
        "\n".join([FORMAT, config.title, *(f"{s.picture} {s.text}" for s in shown)]).encode(), digest_size=6
    ).hexdigest()
    num_bytes = sum(len(pictures[id(c)]) * 4 // 3 for c in order)
    if num_bytes > MOST_BYTES:
        raise ValueError(
            f"the page would be of {num_bytes / 1e6:.0f} MB, more than the {MOST_BYTES // 10**6} that a telephone "
            f"opens; give a smaller --num, or a --size below {size}"
        )
    summary = StudySummary(
        path=config.out, study=study, num=len(chosen), num_repeats=len(order) - len(chosen), size=size,
        num_bytes=num_bytes, strata=balance_of(chosen), notes=tuple(notes),
        unchanged=_claim(config.out, study),
    )  # fmt: skip
    if not (config.dry_run or summary.unchanged):
        _write(config, summary, shown, [pictures[id(c)] for c in order])
    return summary


def check(config: ReadersMakeConfig) -> None:
    """ValueError where a number cannot be."""
    if config.num < 2 or config.num % 2:
        raise ValueError(f"--num {config.num}: expected an even number of at least 2, half of them real")
    if not 0 <= config.repeats <= 1:
        raise ValueError(f"--repeats {config.repeats:g}: expected a share from 0 to 1")
    if config.size is not None and not 16 <= config.size <= 2048:
        raise ValueError(f"--size {config.size}: expected 16 to 2048 pixels")


def _shown(order: Sequence[Candidate], pictures: dict[int, bytes]) -> list[Shown]:
    width, first = max(3, len(str(len(order)))), dict[int, str]()
    rows = []
    for place, each in enumerate(order, start=1):
        item = f"{place:0{width}d}"
        rows.append(
            Shown(
                item=item, picture=hashlib.sha256(pictures[id(each)]).hexdigest(), sha256=each.sha256,
                origin=each.origin, modality=each.modality, label=each.label, text=each.text, file=str(each.path),
                repeat_of=first.get(id(each), ""),
            )
        )  # fmt: skip
        first.setdefault(id(each), item)
    return rows


def _claim(out: Path, study: str) -> bool:
    """Whether the folder holds this very study, whole. ValueError where it holds anything else."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file; choose a folder for --out")
    if not out.is_dir() or not any(out.iterdir()):
        return False
    if not (out / "key.json").is_file():
        if {p.name for p in out.iterdir()} <= {"page", "pictures"}:  # stopped before the key, which is written last
            return False
        raise ValueError(f"{out}: is not empty and holds no study; choose another --out")
    if read_key(out)["study"] != study:
        raise ValueError(f"{out}: holds another study, whose key its readers' answers need; choose another --out")
    return True


def _write(config: ReadersMakeConfig, summary: StudySummary, shown: Sequence[Shown], pictures: Sequence[bytes]) -> None:
    """Pictures and page, then the key."""
    folder = config.out / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for each, png in zip(shown, pictures, strict=True):
        write_atomic(folder / f"{each.item}.png", png)
        source = "data:image/png;base64," + base64.b64encode(png).decode()
        items.append({"item": each.item, "picture": each.picture, "source": source, "text": each.text})
    page = config.out / "page" / "index.html"
    told = {"format": FORMAT, "study": summary.study, "items": items}
    write_html(page, "vesalius.eval.readers", "reader_study.html", title=config.title, study=told)
    key = {
        "format": FORMAT, "study": summary.study, "title": config.title, "seed": config.seed, "size": summary.size,
        "page_sha256": digest_file(page), "notes": list(summary.notes), "items": [dataclasses.asdict(s) for s in shown],
    }  # fmt: skip
    write_json(config.out / "key.json", key)


def read_key(folder: Path) -> dict[str, Any]:
    """The key of a study. ValueError where there is none, or it is damaged."""
    path = folder / "key.json"
    if not path.is_file():
        raise ValueError(f"{folder}: no study there (key.json); make one with `vesalius readers make`")
    key = read_state(path, "make the study again by its `vesalius readers make` line")
    if key.get("format") != FORMAT or not isinstance(key.get("items"), list) or not key.get("study"):
        raise ValueError(f"{path}: is not the key of a study ({FORMAT}); make the study again")
    return key


def shown_of(key: dict[str, Any], where: Path) -> dict[str, Shown]:
    """The items of a key by their names, in order. ValueError where a row is none."""
    try:
        return {row["item"]: Shown(**row) for row in key["items"]}
    except (TypeError, KeyError) as error:
        raise ValueError(f"{where / 'key.json'}: a row is not of a study ({error}); make the study again") from None
