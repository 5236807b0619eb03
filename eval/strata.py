"""Parts of a set that are looked at on their own: what is shown, and of whom."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vesalius.data.datasets.split import patient_key
from vesalius.data.record import Record

if TYPE_CHECKING:
    from vesalius.eval.gates.scores import Case

COLUMNS = {
    "sex": ("sex", "gender", "patient_sex", "patientsex", "patient_gender", "patient gender", "性别"),
    "age": ("age", "patient_age", "patientage", "patient age", "年龄"),
    "ethnicity": ("race", "ethnicity", "ethnic_group", "patient_race"),
}
"""Columns of a dataset that say of whom a picture is, in lower case."""
SEXES = {
    "female": ("f", "female", "woman", "w", "girl", "女", "女性"), "male": ("m", "male", "man", "boy", "男", "男性"),
}  # fmt: skip
BANDS = (18, 40, 65)
"""Ages at which the next band begins."""

_SEX_WORDS = {
    "female": re.compile(r"\b(female|woman|women|girl|lady)\b|女性|女士|患者女|，女", re.IGNORECASE),
    "male": re.compile(r"\b(male|man|men|boy|gentleman)\b|男性|男士|患者男|，男", re.IGNORECASE),
}
_AGE = re.compile(r"\b(\d{1,3})[- ]?(?:year[s]?[- ]old|y/?o\b|yo\b)|(\d{1,3}) ?岁", re.IGNORECASE)


def patient_of(record: Record) -> str | None:
    """Whose picture it is, or which group's (`patient_key`): numbers of one source are not those of another."""
    key = patient_key(record)
    return f"{record.source}: {key}" if record.source and key else key


def subgroups_of(columns: Mapping[str, Any], text: str) -> dict[str, str]:
    """Sex, band of age and ethnicity, out of the columns of a record, or out of its text where no column says it."""
    found: dict[str, str] = {}
    lower = {str(k).lower(): str(v).strip() for k, v in columns.items()}
    for name, keys in COLUMNS.items():
        value = next((lower[k] for k in keys if lower.get(k)), "")
        known = read_sex(value) if name == "sex" else read_age(value) if name == "age" else value.lower()
        if known:
            found[name] = known
    if "sex" not in found:
        sexes = [sex for sex, words in _SEX_WORDS.items() if words.search(text)]
        if len(sexes) == 1:
            found["sex"] = sexes[0]
    match = _AGE.search(text) if "age" not in found else None
    if match:
        found["age"] = read_age(match[1] or match[2])
    return found


def read_sex(value: str) -> str:
    """female, male, or "" where it says neither."""
    return next((sex for sex, words in SEXES.items() if value.lower() in words), "")


def read_age(value: str) -> str:
    """The band of an age in years (63, 63.0, 063Y): under 18, 18 to 39, 40 to 64, 65 and over; "" where it is none."""
    match = re.fullmatch(r"0*(\d{1,3})(?:\.\d+)?\s*(?:y|yr|yrs|years?|岁)?", value.strip(), re.IGNORECASE)
    if not match:
        return ""
    age = int(match[1])
    for low, high in zip((0, *BANDS), BANDS, strict=False):
        if age < high:
            return f"{low} to {high - 1}" if low else f"under {high}"
    return f"{BANDS[-1]} and over"


def kinds_of(case: Case) -> tuple[str, ...]:
    """What a picture shows, as far as it is told: its label and the findings that are present."""
    return tuple(dict.fromkeys([*([case.label] if case.label else []), *_present(case), *case.shows]))


def strata_of(case: Case) -> tuple[str, ...]:
    """The parts of its modality that a picture belongs to: `shows nodule`, `sex female`."""
    return (
        *(f"shows {kind}" for kind in kinds_of(case)),
        *(f"{name} {value}" for name, value in case.subgroups.items()),
    )  # fmt: skip


def with_labels(samples: Sequence[Case], records: Sequence[Case]) -> list[Case]:
    """Samples with the label of the records whose text was their prompt, and what those show, where they agree."""
    known: dict[tuple[str, str], set[tuple[str | None, tuple[str, ...]]]] = {}
    for record in records:
        known.setdefault((record.modality, record.text), set()).add((record.label, _present(record)))
    found = []
    for sample in samples:
        told = known.get((sample.modality, sample.text), set())
        labels, shown = {label for label, _ in told}, {kinds for _, kinds in told}
        label = labels.pop() if len(labels) == 1 else None
        found.append(replace(sample, label=label, shows=shown.pop() if len(shown) == 1 else ()))
    return found


def _present(case: Case) -> tuple[str, ...]:
    return tuple(f.kind for f in case.findings if f.present)
