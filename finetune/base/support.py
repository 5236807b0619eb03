"""Count what a base was trained on, for `vesalius.models.support`.

    python -m vesalius.finetune.base.support --data DIR... [--exclude fundus MRI/brain] --out models/nano

Give the data and exclusions of the base's own training. Writes OUT/support.json.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vesalius.data.modality import find_modality
from vesalius.data.phantoms.report import LANGUAGES
from vesalius.data.record import Finding, Record
from vesalius.data.tables.labels import bare
from vesalius.data.texts.captions import CAPTIONS, UNLABELLED, facts_of, labels_of
from vesalius.data.texts.prompt import prompts_of
from vesalius.data.texts.wording import reword_record
from vesalius.finetune.feeding.examples import gather
from vesalius.models.support import FILE, Shown, Support, words_of

NUM_WORDINGS = 4
"""English wordings of each record that are read for its words, beside those of its own."""

_COHORT = "template-from-DICOM-header"  # the diagnosis is of a cohort, and the slice need not show it


@dataclass(frozen=True, kw_only=True)
class SupportConfig:
    """Count the training images of a base by what they show."""

    data: tuple[Path, ...]
    """dataset folders"""
    out: Path
    """base folder"""
    exclude: tuple[str, ...] = ()
    """real records that were left out, as "MODALITY" or "MODALITY/organ\""""


def count_support(records: Sequence[Record]) -> Support:
    """The support of a base that was trained on these records. Synthetic ones do not count."""
    groups: dict[tuple[str, str, tuple[Finding, ...]], list[Record]] = {}
    terms: dict[str, set[str]] = {}
    words: dict[str, Counter[str]] = {}
    rng = np.random.default_rng(0)
    for record in records:
        if record.origin == "synthetic":
            continue
        modality = find_modality(record.modality).name
        findings = findings_of(record, terms)
        groups.setdefault((modality, record.organ or "", findings), []).append(record)
        told = (*own_words(record), *(reword_record(record, rng) for _ in range(NUM_WORDINGS)))
        words.setdefault(modality, Counter()).update({w for text in told for w in words_of(text)})
    shown = []
    for (modality, organ, findings), members in sorted(groups.items(), key=lambda g: (g[0][0], g[0][1], str(g[0][2]))):
        texts = Counter((own_words(r) or (reword_record(r, rng),))[0] for r in members)
        example = min(texts, key=lambda t: (-texts[t], len(t), t))
        real = sum(r.origin == "real" for r in members)
        shown.append(
            Shown(
                modality=modality, organ=organ or None, findings=findings, num_real=real,
                num_phantom=len(members) - real, example=example,
            )
        )  # fmt: skip
    phrases = {kind: tuple(sorted(said)) for kind, said in sorted(terms.items())}
    return Support(shown=tuple(shown), terms=phrases, words={m: dict(c) for m, c in words.items()})


def own_words(record: Record) -> tuple[str, ...]:
    """The texts of a record's row; none where its source's licence keeps them out of what ships."""
    return () if record.source in UNLABELLED else prompts_of(record)


def findings_of(record: Record, terms: dict[str, set[str]]) -> tuple[Finding, ...]:
    """What an image shows: its findings, else its label, with the phrases that say each put into `terms`."""
    present = sorted({(f.kind, f.side) for f in record.findings if f.present}, key=str)
    if present:
        for kind, _ in present:
            terms.setdefault(kind, {kind}).update(_phantom_phrases(kind))
        return tuple(Finding(kind=kind, side=side) for kind, side in present)
    if record.origin == "phantom":
        return (Finding(kind="normal"),)
    told = labels_of(record, facts_of(record))
    if any(role == "normal" for _, role in told):
        return (Finding(kind="normal"),)
    if record.extra.get("text_origin") == _COHORT:
        return ()
    found = []
    for key, _ in told:
        phrases = [bare(p) for talk in CAPTIONS.values() for p in talk.labels.get(key, ())]
        kind = phrases[0] if phrases else key.replace("_", " ")
        terms.setdefault(kind, {kind.lower()}).update(p.lower() for p in phrases)
        found.append(Finding(kind=kind))
    return tuple(found)


def _phantom_phrases(kind: str) -> set[str]:
    found = [language.seen.terms[kind] for language in LANGUAGES.values() if kind in language.seen.terms]
    return {phrase.lower() for term in found for phrase in (*term.one, *term.many, term.absent, *term.denied)}


def main(config: SupportConfig) -> None:
    """Count, write, and say what is there."""
    support = count_support([r for _, r in gather(config.data, "train", config.exclude)])
    support.save(config.out)
    print(f"{config.out / FILE}: {len(support.shown)} combinations")
    for modality, count in support.modalities.items():
        kinds = ", ".join(f"{k} {n}" for k, n in support.findings(modality).items())
        print(f"{modality} {count}: {kinds or 'no finding named'}")


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(SupportConfig, main)
