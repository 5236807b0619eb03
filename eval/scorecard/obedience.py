"""Does a base draw what it is told: real classes as the witness reads them, phantoms as the reader measures them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from vesalius.data.hounsfield import encode_windows
from vesalius.data.images.image import Picture, Uint8, to_uint8
from vesalius.data.phantoms.phantom import KINDS, Phantom, draw_phantom
from vesalius.data.record import Finding, Record
from vesalius.data.texts.captions import UNLABELLED
from vesalius.eval.fidelity.metrics import Measure, balanced_share, share
from vesalius.eval.scorecard.material import IMAGE_SIZE, Material, task_of
from vesalius.eval.scorecard.prompts import Asked, phantom_prompts
from vesalius.eval.scorecard.table import Bar, Part, Row
from vesalius.models.networks.reader import Reader, compare_findings
from vesalius.models.networks.witness import Witness, classes_of

FEW = 10
LANGUAGES = {"en": "English", "zh": "Chinese"}
CLASS_BARS = {
    "modality right": Bar(least=0.99),
    "organ right": Bar(least=0.97),
    "class right": Bar(least=0.75, slack=0.05),
}
PHANTOM_BARS = {
    "finding present": Bar(least=0.95),
    "denied finding absent": Bar(least=0.95),
    "side right": Bar(least=0.95),
    "size within 25 %": Bar(least=0.80),
    "count right": Bar(least=0.80),
}
_QUESTIONS = dict(zip(("present", "absent", "side", "size", "count"), PHANTOM_BARS, strict=True))


def measure_classes(material: Material) -> Part:
    """Modality, organ and class of drawings of real classes, beside the same heads on real test images."""
    witness, classes = material.witness, material.classes
    drawn = material.drawn_classes()
    names = [name for _, name in zip(drawn.asked, list(classes) * len(drawn.asked), strict=False)]
    tested = [(name, r) for name, records in material.tested.items() for r in records]
    real_names, real = [n for n, _ in tested], [r for _, r in tested]
    ours = class_answers(witness, drawn.images, [a.record for a in drawn.asked if a.record])
    theirs = class_answers(witness, material.read(real), real)

    groups = [{"all classes", f"{LANGUAGES[a.language]} prompts", n} for a, n in zip(drawn.asked, names, strict=True)]
    real_groups = [{"all classes", *(f"{word} prompts" for word in LANGUAGES.values()), n} for n in real_names]

    def row(what: str, of: str, bar: Bar | None = None) -> Row | None:
        measured = _balanced(ours[what], names, [of in g for g in groups])
        beside = _balanced(theirs[what], real_names, [of in g for g in real_groups])
        return Row(what=what, of=of, measured=measured, beside=(beside,), bar=bar) if measured else None

    rows = [row(what, "all classes", bar) for what, bar in CLASS_BARS.items()]
    rows += [row("class right", of) for of in (*(f"{word} prompts" for word in LANGUAGES.values()), *classes)]
    return Part(
        title="Real classes",
        text=(
            f"{len(drawn.asked)} drawings of {len(classes)} classes, prompts by sentences that no training used, one "
            "in four in Chinese. The linear heads of the witness read them, and beside them real test images of "
            "patients that lie in no other split. Each number is the mean over classes.",
            f"Shown, not measured, for want of images or patients: {_unmeasured(material) or 'none'}.",
        ),
        beside=("real test images",),
        rows=tuple(r for r in rows if r is not None),
    )


def class_answers(witness: Witness, images: torch.Tensor, records: Sequence[Record]) -> dict[str, list[bool | None]]:
    """Whether each picture (uint8 [N, 3, H, W]) is read as what its record is; None where no head knows."""
    features = witness.features(images)
    said = [classes_of(r) for r in records]
    tasks = {
        "modality right": ["modality" for _ in records],
        "organ right": ["organ" for _ in records],
        "class right": [task_of(r) for r in records],
    }
    answers: dict[str, list[bool | None]] = {}
    for question, heads in tasks.items():
        read: list[bool | None] = [None] * len(records)
        for head in set(heads) & set(witness.config.heads):
            known = witness.config.heads[head]
            mine = [i for i, h in enumerate(heads) if h == head and said[i].get(head) in known]
            chosen = witness.read(features[mine], head).argmax(1).tolist() if mine else []
            for i, k in zip(mine, chosen, strict=True):
                read[i] = known[k] == said[i][head]
        answers[question] = read
    return answers


def _balanced(answers: Sequence[bool | None], names: Sequence[str], chosen: Sequence[bool]) -> Measure | None:
    """The answers that are known and chosen, averaged over classes; None where there is none."""
    known = [(a, n) for a, n, c in zip(answers, names, chosen, strict=True) if c and a is not None]
    return balanced_share([a for a, _ in known], [n for _, n in known]) if known else None


def _unmeasured(material: Material) -> str:
    """The other classes and their training images; labels that no one may read are not told."""
    measured = {r.file_name for records in material.classes.values() for r in records}
    counts = Counter(
        "/".join(w for w in (r.modality, r.organ, None if r.source in UNLABELLED else r.label) if w)
        for r in material.records
        if r.split == "train" and r.file_name not in measured
    )
    told = [f"{name} ({num})" for name, num in sorted(counts.items()) if num >= FEW]
    rare = [num for num in counts.values() if num < FEW]
    return ", ".join([*told, f"and {len(rare)} classes of fewer than {FEW} images ({sum(rare)})"] if rare else told)


def measure_phantoms(material: Material) -> Part:
    """Findings of drawn phantoms, beside the reader's own error on phantoms that really have the very findings."""
    reader = material.reader
    drawn = material.draw("phantoms", phantom_prompts(material.config.num))
    truth = torch.from_numpy(np.stack([as_seen(draw(a)) for a in drawn.asked]))
    ours, theirs = finding_answers(reader, drawn.images, drawn.asked), finding_answers(reader, truth, drawn.asked)
    rows = []
    for what, bar in PHANTOM_BARS.items():
        for of in ("all", *KINDS, *LANGUAGES.values()):
            mine, real = (
                [right for a, question, right in answers if question == what and of in _groups(a)]
                for answers in (ours, theirs)
            )
            if mine:
                beside = share(real) if real else None
                rows.append(Row(what=what, of=of, measured=share(mine), beside=(beside,), bar=bar))
    return Part(
        title="Phantoms",
        text=(
            f"{len(drawn.asked)} prompts of fresh findings: captions and reports, in English and Chinese, by sentences "
            "that no training used. The phantom reader measures the drawings, and beside them phantoms that have the "
            "very findings: its own error. Side, size and count are asked of findings that are seen. A prompt that "
            "says normal denies every finding.",
        ),
        beside=("phantoms of the same findings",),
        rows=tuple(rows),
    )


def _groups(asked: Asked) -> tuple[str, ...]:
    return ("all", asked.modality, LANGUAGES[asked.language])


def draw(asked: Asked) -> Phantom:
    """The phantom that really has what was asked."""
    return draw_phantom(asked.seed, asked.modality, size=IMAGE_SIZE, findings=asked.findings)


def as_seen(drawn: Phantom | Picture) -> Uint8:
    """A phantom or a drawing as models see it: uint8 [3, H, W], CT in its three windows."""
    image = drawn.image if drawn.hu is None else to_uint8(encode_windows(drawn.hu), 0.0, 1.0)
    return np.ascontiguousarray(np.repeat(image, 3 // image.shape[2], axis=2).transpose(2, 0, 1))


def finding_answers(reader: Reader, images: torch.Tensor, asked: Sequence[Asked]) -> list[tuple[Asked, str, bool]]:
    """(prompt, question, right) for all that the prompts settle. images: uint8 [N, 3, H, W]."""
    readings = reader.read(images, [a.modality for a in asked])
    return [
        (a, _QUESTIONS[question], right)
        for a, reading in zip(asked, readings, strict=True)
        for _, question, right in compare_findings(claims(a), reading.findings, a.modality)
    ]


def claims(asked: Asked) -> tuple[Finding, ...]:
    """What a prompt claims: its findings; of one that says normal, that there is none of any kind."""
    return asked.findings or tuple(Finding(kind=kind, present=False) for kind in KINDS[asked.modality])
