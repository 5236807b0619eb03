"""A blinded reader study: real and synthetic images that only their pixels can tell apart, as one page.

    make_study(config)      DIR/page/index.html for the readers, DIR/key.json and DIR/pictures/ for whoever scores

The page needs no network and no server. What could give an answer away is the same for all: one size, one number of
channels for a modality, 8 bits, PNGs without metadata whose bytes are stored and not compressed, so that their length
says nothing; names that are places in the order. CT in Hounsfield units goes through the window that its text names, or
from lung to bone, real and synthetic alike. The text is shown after the answer is fixed, for wording tells much.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.data.image import image_shape
from vesalius.data.modality import find_modality
from vesalius.data.page import write_html
from vesalius.data.prompt import clean, prompts_of
from vesalius.data.record import Finding, Record, digest_file, load_records, read_state, write_atomic, write_json
from vesalius.eval.readers_config import ReadersMakeConfig
from vesalius.eval.shown import shown_image, stored_png
from vesalius.inference.sample import Sample, load_samples

FORMAT = "vesalius-readers-1"
MOST_BYTES = 100_000_000
"""Of a page: what a telephone still opens."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An image that may be shown.

    label: its diagnosis or first finding, "" where that is not known. sha256: by which its folder knows it. hounsfield:
    whether `path` holds Hounsfield units. digest: what the sha256 of `path` should be; both "" where nothing says it.
    """

    path: Path
    origin: str
    modality: str
    label: str
    text: str
    sha256: str
    hounsfield: bool
    digest: str = ""
    patient: str = ""

    @property
    def is_synthetic(self) -> bool:
        return self.origin == "synthetic"


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
    study: str
    num: int
    num_repeats: int
    size: int
    num_bytes: int
    strata: dict[str, int]
    notes: tuple[str, ...]
    unchanged: bool = False


def make_study(config: ReadersMakeConfig) -> StudySummary:
    """Choose, draw up and write a study; the same line again changes nothing.

    ValueError where the folders are none, where too few images are of the same modality and label, where a sample was
    changed since it was drawn, or where the folder holds something else.
    """
    check(config)
    records = load_records(config.real)
    real = [_of_record(config.real, r) for r in records if r.origin != "synthetic" and r.split == config.split]
    if not real:
        raise ValueError(f"{config.real}: split '{config.split}' has no image that is not synthetic; name another")
    labels = _labels_of_texts(records)
    synthetic = [_of_sample(config.samples, s, labels) for s in load_samples(config.samples)]
    chosen, notes = choose(real, synthetic, config.num, config.seed)
    chosen = [_whole(c) for c in chosen]
    edges = [min(image_shape(c.path)) for c in chosen]
    size = config.size or min(edges)
    if min(edges) < size:
        notes.append(f"{sum(e < size for e in edges)} images are enlarged to {size} pixels, which shows")
    if any(c.origin == "phantom" for c in chosen):
        notes.append("phantoms stand for real images")
    order = arrange(chosen, round(config.repeats * config.num), config.seed)
    pictures = {
        id(c): stored_png(shown_image(c.path, c.modality, size, text=c.text, hounsfield=c.hounsfield)) for c in chosen
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
    strata = Counter(f"{c.modality}, {c.label}" if c.label else c.modality for c in chosen)
    summary = StudySummary(
        path=config.out, study=study, num=len(chosen), num_repeats=len(order) - len(chosen), size=size,
        num_bytes=num_bytes, strata=dict(sorted(strata.items())), notes=tuple(notes),
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


def label_of(findings: Iterable[Finding]) -> str:
    """What findings amount to: the kind of the first that is present, "normal" where all are denied, "" of none."""
    told = list(findings)
    present = [f.kind for f in told if f.present]
    return present[0] if present else "normal" if told else ""


def _of_record(folder: Path, record: Record) -> Candidate:
    path = folder / record.file_name
    return Candidate(
        path=path, origin=record.origin, modality=find_modality(record.modality).name,
        label=record.label or label_of(record.findings), text=next(iter(prompts_of(record)), ""),
        sha256=record.sha256 or "", digest=record.sha256 or "", hounsfield=record.hounsfield,
        patient=record.patient_id or "",
    )  # fmt: skip


def _of_sample(folder: Path, sample: Sample, labels: dict[tuple[str, str], str]) -> Candidate:
    """ValueError where its picture is no PNG."""
    path = folder / (sample.raw16 or sample.file_name)
    if path.suffix != ".png":
        raise ValueError(f"{path}: only samples of `vesalius generate --sink png` can be shown; draw them so")
    text = clean(sample.text)
    return Candidate(
        path=path, origin="synthetic", modality=sample.modality,
        label=labels.get((sample.modality, text)) or label_of(sample.findings), text=text, sha256=sample.sha256,
        hounsfield=sample.raw16 is not None, digest=(sample.raw16_sha256 or "") if sample.raw16 else sample.sha256,
    )  # fmt: skip


def _labels_of_texts(records: Sequence[Record]) -> dict[tuple[str, str], str]:
    """The label of every caption that is of one label alone: prompts are often captions of the dataset."""
    found: dict[tuple[str, str], set[str]] = {}
    for record in records:
        for text in prompts_of(record):
            key = (find_modality(record.modality).name, text)
            found.setdefault(key, set()).add(record.label or label_of(record.findings))
    return {key: labels.pop() for key, labels in found.items() if len(labels) == 1}


def _whole(candidate: Candidate) -> Candidate:
    """With the digest of its file. ValueError where that lacks, or was changed since its folder was written."""
    if not candidate.path.is_file():
        raise ValueError(f"{candidate.path}: no such image file; copy the folder whole, or make it again")
    found = digest_file(candidate.path)
    if candidate.digest and found != candidate.digest:
        raise ValueError(f"{candidate.path}: was changed since its folder was written; run the line that made it again")
    return dataclasses.replace(candidate, sha256=candidate.sha256 or found)


def choose(
    real: Sequence[Candidate], synthetic: Sequence[Candidate], num: int, seed: int
) -> tuple[list[Candidate], list[str]]:
    """`num` images, in each modality and label as many real as synthetic, spread as evenly as they allow; and notes.

    Of a patient one image is shown where there are others. Where the labels of a modality have nothing in common, it is
    balanced as a whole. ValueError where there are too few.
    """
    notes: list[str] = []
    pairs: dict[str, dict[str, list[tuple[Candidate, Candidate]]]] = {}
    for modality in sorted({c.modality for c in real} & {c.modality for c in synthetic}):
        sides = [[c for c in side if c.modality == modality] for side in (real, synthetic)]
        sides, told = _alike_in_units(modality, sides)
        shared = {c.label for c in sides[0]} & {c.label for c in sides[1]}
        groups = [(label, [[c for c in side if c.label == label] for side in sides]) for label in sorted(shared)]
        if not shared or shared == {""}:
            told.append(f"{modality}: no label is of real and synthetic images both; balanced by modality alone")
            groups = [("", sides)]
        notes += told
        pairs[modality] = {
            label: list(
                zip(*(_shuffled(s, f"{seed}/{modality}/{label}/{i}") for i, s in enumerate(both)), strict=False)
            )
            for label, both in groups
        }
    room = sum(len(p) for groups in pairs.values() for p in groups.values())
    if room < num // 2:
        have = f"give --num {2 * room}, or more images" if room else "give images of the same modality"
        raise ValueError(
            f"--num {num} needs {num // 2} real and {num // 2} synthetic images that agree in modality and label, and "
            f"there are {room} of each ({len(real)} real and {len(synthetic)} synthetic in all); {have}"
        )
    taken = {(m, label): 0 for m, groups in pairs.items() for label in groups}
    for _ in range(num // 2):  # to the modality, and in it to the label, that has least so far
        free = [(m, label) for m, label in taken if taken[m, label] < len(pairs[m][label])]
        least = min(free, key=lambda k: (sum(n for (m, _), n in taken.items() if m == k[0]), taken[k]))
        taken[least] += 1
    return [c for (m, label), n in taken.items() for pair in pairs[m][label][:n] for c in pair], notes


def _alike_in_units(modality: str, sides: list[list[Candidate]]) -> tuple[list[list[Candidate]], list[str]]:
    """CT of known and of unknown units differ in tone: where both sides have units, or both lack them, only those."""
    for known in (True, False):
        alike = [[c for c in side if c.hounsfield == known] for side in sides]
        if all(alike):
            return alike, []
    return sides, [f"{modality}: Hounsfield units are known on one side alone, so tones may give the answer away"]


def _shuffled(candidates: Sequence[Candidate], seed: str) -> list[Candidate]:
    """In an order of chance, with the second image of a patient after the first ones of all."""
    mixed = list(candidates)
    random.Random(seed).shuffle(mixed)
    turn, seen = [], Counter[str]()
    for each in mixed:
        turn.append(seen[each.patient] if each.patient else 0)
        seen[each.patient] += 1
    return [c for _, c in sorted(zip(turn, mixed, strict=True), key=lambda pair: pair[0])]


def arrange(chosen: Sequence[Candidate], num_repeats: int, seed: int) -> list[Candidate]:
    """All in an order of chance; so many come a second time, half of them real, with a third of all between where that
    leaves room."""
    rng = random.Random(f"{seed}/order")
    sides = [[c for c in chosen if c.is_synthetic is wanted] for wanted in (True, False)]
    rng.shuffle(sides)
    for side in sides:
        rng.shuffle(side)
    again = [c for pair in zip(*sides, strict=True) for c in pair][:num_repeats]
    gap = min(len(chosen) // 3, len(chosen) - len(again))
    early = len(chosen) - gap
    others = [c for c in chosen if not any(c is each for each in again)]
    rng.shuffle(others)
    head = [*again, *others[: early - len(again)]]
    rng.shuffle(head)
    order = [*head, *others[early - len(again) :]]
    before: list[list[Candidate]] = [
        [] for _ in range(len(order) + 1)
    ]  # what comes again, by the place it stands before
    for each in again:
        first = next(i for i, c in enumerate(order) if c is each)
        before[rng.randint(first + gap + 1, len(order)) if first + gap < len(order) else len(order)].append(each)
    return [c for i, more in enumerate(before) for c in [*more, *order[i : i + 1]]]


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
    write_html(page, "vesalius.eval", "reader_study.html", title=config.title, study=told)
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
