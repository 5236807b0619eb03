"""How often the networks behind the badges are wrong, on held-out images whose truth is known.

    python -m vesalius.demo.checking.check_rates --phantoms DATASET --real DATASET --out demo/checking/check_rates.json

Phantoms: the split "val" of a dataset of `vesalius data phantom`, whose seed no training used. Real images: those of
the split "test", of patients that lie in no other split. A yes-or-no question counts its misses and its false alarms
alike: the rate is the mean of both, so that a network that always says yes is wrong in half. What few images tell is
not told to be better than one error in as many.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.data.phantoms.phantom import ORGANS, RULES
from vesalius.data.record import Finding, Record, load_records, write_atomic
from vesalius.demo.checking.asked import NO_FINDING, Domain, Question, kind_of
from vesalius.demo.checking.checks import FEWEST, ORGANS_KNOWN, Eyes, Seeing, answers, place_of_class, rate_key

if TYPE_CHECKING:
    import torch

FORMAT = "vesalius-check-rates-1"
Asked = list[tuple[Question, bool]]
"""Questions, each with its true answer."""


def measure(phantoms: tuple[Path, str], real: tuple[Path, str] | None, *, most: int | None = None) -> dict[str, Any]:
    """Rates on datasets, each given with the split to read. most: records of each, the first ones. ValueError where a
    dataset is none, or lacks the split."""
    eyes = Eyes()
    right: dict[str, dict[bool, list[bool]]] = defaultdict(lambda: {True: [], False: []})
    counts: dict[str, int] = {}
    for domain, place in (("phantom", phantoms), ("real", real)):
        if place is None:
            continue
        records = _held_out(*place)[:most]
        counts[domain] = len(records)
        for record, seeing in zip(records, _look(eyes, place[0], records), strict=True):
            asked = phantom_questions(record) if domain == "phantom" else real_questions(record, eyes)
            for question, truth in asked:
                for answer in answers(question, seeing, eyes.kinds):
                    if answer.right is not None:
                        right[rate_key(question, answer.checker)][truth].append(answer.right == truth)
    rates = {key: rate for key, told in sorted(right.items()) if (rate := error_of(told[True], told[False]))}
    networks = {"judge": eyes.judge.digest, "witness": eyes.witness.digest, "phantom reader": eyes.reader.digest}
    return {"format": FORMAT, "networks": networks, "num_images": counts, "rates": rates}


def error_of(there: Sequence[bool], not_there: Sequence[bool]) -> dict[str, float] | None:
    """The share of wrong answers, where those to images that show it weigh as much as those to the others; None where
    too few images tell it. The arguments say which answers were right."""
    told = [answers for answers in (there, not_there) if answers]
    if len(there) < FEWEST or min(map(len, told)) < FEWEST:
        return None
    error = sum(1 - sum(each) / len(each) for each in told) / len(told)
    fewest = min(map(len, told))
    return {"error": round(max(error, 1 / fewest), 4), "num": sum(map(len, told))}


def phantom_questions(record: Record) -> Asked:
    """Of a phantom everything is known: each kind that it could have, and of those present side, size and count."""
    modality = record.modality
    present = {f.kind: f for f in record.findings if f.present}
    asked = list(_where(record.modality, ORGANS[record.modality], "phantom"))
    asked.append((_question("absence", f"{modality}/normal", NO_FINDING), not present))
    for kind, rule in RULES[modality].items():
        about, finding = f"{modality}/{kind}", present.get(kind)
        asked.append((_question("finding", about, kind, finding or Finding(kind=kind)), finding is not None))
        if finding is None:
            continue
        measured = {"side": rule.sides, "size": finding.size_mm, "count": rule.max_count > 1}
        asked += [(_question(what, about, kind, finding), True) for what, known in measured.items() if known]
    return asked


def real_questions(record: Record, eyes: Eyes) -> Asked:
    """Of a real image its modality, organ and class are known, and that it is none of the other classes."""
    from vesalius.models.networks.witness import classes_of

    place = place_of_class(classes_of(record).get("organ", ""))
    asked = list(_where(record.modality, place.partition("/")[2], "real"))
    if record.label and record.organ:
        kind = kind_of(f"{record.modality}/{record.organ}", record.label)
        _, kinds = eyes.kinds.get(f"{record.modality}/{kind}", ("", set()))
        asked += [
            (
                Question(attribute="finding", about=f"{record.modality}/{each}", words=each, domain="real"),
                each == kind,
            )
            for each in sorted(kinds)
        ]
    return asked


def _where(modality: str, organ: str, domain: Domain) -> Iterable[tuple[Question, bool]]:
    for name in ("CT", "MRI", "X-ray", "blood smear", "fundus", "pathology"):
        yield Question(attribute="modality", about=name, words=name, domain=domain), name == modality
    for place in ORGANS_KNOWN if organ else ():
        if domain == "real" or place in {f"{m}/{o}" for m, o in ORGANS.items()}:
            yield Question(attribute="organ", about=place, words=place, domain=domain), place == f"{modality}/{organ}"


def _question(attribute: Any, about: str, words: str, finding: Finding | None = None) -> Question:
    return Question(attribute=attribute, about=about, words=words, domain="phantom", finding=finding)


def _held_out(folder: Path, split: str) -> list[Record]:
    from vesalius.models.networks.witness import held_out

    records = load_records(folder)
    chosen = held_out(records) if split == "test" else [r for r in records if r.split == split]
    if not chosen:
        raise ValueError(f"{folder}: no record of split '{split}' there that is held out; give another dataset")
    return chosen


def _look(eyes: Eyes, folder: Path, records: Sequence[Record]) -> Iterable[Seeing]:
    for start in range(0, len(records), 64):
        part = records[start : start + 64]
        yield from eyes.look(_read(folder, part), [r.modality for r in part])


def _read(folder: Path, records: Sequence[Record]) -> torch.Tensor:
    import torch

    from vesalius.data.images.image import load_stack
    from vesalius.eval.scorecard.material import IMAGE_SIZE

    members = [(folder / r.file_name, r.modality) for r in records]
    return torch.from_numpy(load_stack(members, IMAGE_SIZE, quiet=True))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=Path, required=True, help="dataset of phantoms; its split val is read")
    parser.add_argument("--real", type=Path, help="dataset of real images; its split test is read")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    given = parser.parse_args(arguments)
    found = measure((given.phantoms, "val"), (given.real, "test") if given.real else None)
    write_atomic(given.out, (json.dumps(found, indent=1) + "\n").encode())
    print(f"wrote {len(found['rates'])} rates: {given.out}")


if __name__ == "__main__":
    main()
