"""What a text or a picture is known to say, as yes-or-no targets: kinds of finding, their sides, sizes and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from vesalius.data.phantoms.phantom import KINDS, RULES
from vesalius.data.record import Finding, Record
from vesalius.data.texts.captions import facts_of, label_of
from vesalius.models.networks.judge import attribute_names

FEWEST = 30
"""Training images that a class needs to be learned as one."""

SIZES_MM = tuple(range(60))
"""Limits of the yes-or-no questions about size, in whole millimetres as texts tell them: is it longer than this?"""


def phantom_attributes(records: Sequence[Record]) -> tuple[str, ...]:
    """Names "MODALITY/kind", and "MODALITY/kind/left" and "/right" for kinds that have a side in the records."""
    sided = {f.kind for r in records for f in r.findings if f.side}
    return tuple(
        f"{modality}/{kind}{side}"
        for modality, kinds in KINDS.items()
        for kind in kinds
        for side in ("", "/left", "/right")
        if not side or kind in sided
    )


def class_attributes(records: Sequence[Record]) -> tuple[str, ...]:
    """Names "MODALITY/organ/label" of the classes that at least `FEWEST` real records show."""
    counts = Counter(class_attribute(r) for r in records)
    return tuple(sorted(name for name, count in counts.items() if name and count >= FEWEST))


def class_attribute(record: Record) -> str:
    """The name of a real record's class; "" where its label names none, or only what its patient has."""
    key, role = label_of(record, facts_of(record))
    cohort = record.extra.get("text_origin") == "template-from-DICOM-header"
    told = record.origin == "real" and not cohort and (role == "normal" or bool(key))
    return f"{record.modality}/{record.organ}/{record.label}" if told else ""


def attribute_targets(records: Sequence[Record], attributes: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Truth and whether it is known, float32 [N, A].

    Findings are known for phantoms, within their own modality; classes for real records of a class, within its organ.
    """
    index = {name: i for i, name in enumerate(attributes)}
    findings = {m: [i for n, i in index.items() if n.split("/")[0] == m and n.split("/")[1] in KINDS[m]] for m in KINDS}
    truth = torch.zeros(len(records), len(index))
    known = torch.zeros(len(records), len(index))
    for row, record in enumerate(records):
        if record.origin == "phantom":
            known[row, findings[record.modality]] = 1
            for finding in record.findings:
                if finding.present:
                    truth[row, [index[n] for n in attribute_names(record.modality, finding) if n in index]] = 1
        elif (name := class_attribute(record)) in index:
            known[row, [i for n, i in index.items() if n.rsplit("/", 1)[0] == name.rsplit("/", 1)[0]]] = 1
            truth[row, index[name]] = 1
    return truth, known


def statements() -> tuple[str, ...]:
    """What a phantom's text can state: "MODALITY/kind", and below it "absent", a side, "more than N", "over N mm"."""
    names: list[str] = []
    for modality, rules in RULES.items():
        for kind, rule in rules.items():
            name = f"{modality}/{kind}"
            names += [name, f"{name}/absent"]
            names += [f"{name}/{side}" for side in ("left", "right") if rule.sides]
            names += [f"{name}/more than {n}" for n in range(1, rule.max_count)]
            low, high = rule.size_mm or (0, 0)
            names += [f"{name}/over {mm} mm" for mm in SIZES_MM if low <= mm < high]
    return tuple(names)


def stated(modality: str, findings: Sequence[Finding]) -> set[str]:
    """What these findings make true, in the words of `statements`, which leaves out what no finding can be."""
    true: set[str] = set()
    for finding in findings:
        name = f"{modality}/{finding.kind}"
        if not finding.present:
            true.add(f"{name}/absent")
            continue
        true.update(attribute_names(modality, finding))
        true.update(f"{name}/more than {n}" for n in range(1, finding.count))
        true.update(f"{name}/over {mm} mm" for mm in SIZES_MM if (finding.size_mm or 0) > mm)
    return true
