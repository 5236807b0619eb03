"""The first pass of a build: what the sources say before any pixel is read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from dataclasses import dataclass

from vesalius.data.building.config import BuildConfig
from vesalius.data.building.encoding_pass import digest_of, draft_key
from vesalius.data.building.journal import Aside
from vesalius.data.command.workers import Workers
from vesalius.data.datasets.split import hashed_split, patient_key
from vesalius.data.findings.read import as_findings, findings_in, left_open
from vesalius.data.scrub.text import scrub_drafts, told
from vesalius.data.sources.draft import Draft, Refused
from vesalius.data.sources.reading import notes_of, reading_of
from vesalius.data.sources.walk import drafts_of

MOST_TOLD = 1000
"""Quarantined rows that a summary holds; `quarantine.jsonl` has all."""
MOST_KINDS = 20
"""Kinds of finding that a note names."""


@dataclass
class Survey:
    """The first pass: what the sources say before any pixel is read.

    drafts: each draft with its key, put aside (not in a dry run). named: the split that the sources give to a patient,
    by the hash of its key. refused: the first of num_refused.
    """

    settings: str
    drafts: Aside[tuple[str, Draft] | Refused]
    num_drafts: int = 0
    num_bytes: int = 0
    splits: Counter[str] = dataclasses.field(default_factory=Counter)
    modalities: Counter[str] = dataclasses.field(default_factory=Counter)
    refused: list[Refused] = dataclasses.field(default_factory=list)
    num_refused: int = 0
    content: str = ""
    named: dict[int, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    removed: Counter[str] = dataclasses.field(default_factory=Counter)
    uncertain: Counter[str] = dataclasses.field(default_factory=Counter)


def survey_sources(config: BuildConfig, workers: Workers) -> Survey:
    """Read the sources, each row without its pixels. ValueError names the first bad row, with `keep_going` only a
    source that cannot be read as a whole, or that nothing is left."""
    free = ("sources", "out", "keep_going", "workers", "json", "dry_run", "mapping")
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k not in free}
    settings["sources"] = [str(s.resolve()) for s in config.sources]
    reading = reading_of(config, workers)
    survey = Survey(settings=digest_of(settings), drafts=Aside(config.out))
    content, unnamed = hashlib.blake2b(digest_size=16), Counter[tuple[int, str]]()
    unsearched = synthetic = 0
    read = drafts_of(config.sources, reading)
    for each in read if config.keep_identifiers else scrub_drafts(read, survey.removed):
        if isinstance(each, Refused):
            if not config.keep_going:
                raise ValueError(each.reason)
            survey.num_refused += 1
            survey.refused += [each][: MOST_TOLD - len(survey.refused)]
            content.update(each.reason.encode())
            if not config.dry_run:
                survey.drafts.add(each)
            continue
        if config.read_findings:
            each = _read(each, survey.uncertain)
        survey.num_drafts += 1
        survey.num_bytes += each.state()[0]
        unsearched += each.search_text
        synthetic += each.record.origin == "synthetic"
        survey.modalities[each.record.modality] += 1
        split = None if config.resplit else each.split
        patient = patient_key(each.record)
        if split and patient:
            survey.named.setdefault(hash(patient), split)
        if split:
            survey.splits[split] += 1
        elif config.dry_run:  # counted for its summary alone
            by_hash = hashed_split(patient, seed=config.seed, val=config.val, test=config.test)[0] if patient else ""
            unnamed[(hash(patient), by_hash)] += 1
        key = draft_key(each)
        content.update(key.encode())
        if not config.dry_run:
            survey.drafts.add((key, each))
            workers.begin(survey.num_drafts, each.kind)
    for (patient_hash, by_hash), count in unnamed.items():
        survey.splits[survey.named.get(patient_hash, by_hash) if by_hash else "by content"] += count
    survey.content = content.hexdigest()
    survey.notes = [*notes_of(reading, unsearched, synthetic), *told(survey.removed), *_told_open(survey.uncertain)]
    if config.mapping and not config.dry_run:
        reading.names.write(config.mapping)
    if not survey.num_drafts:
        first = f"; the first: {survey.refused[0].reason}" if survey.refused else ""
        raise ValueError(
            f"{config.sources[0]}: nothing is left to build from, {survey.num_refused} rows are bad{first}"
        )
    return survey


def _read(draft: Draft, uncertain: Counter[str]) -> Draft:
    """The draft with the findings that its text states, where its row lists none, and those that it leaves open, which
    are counted."""
    if draft.record.findings:
        return draft
    mentions = findings_in(draft.record.text)
    possible = left_open(mentions)
    uncertain.update(possible)
    extra = {**draft.record.extra, "uncertain": json.dumps(possible)}
    record = dataclasses.replace(draft.record, findings=as_findings(mentions), extra=extra)
    return dataclasses.replace(draft, record=record)


def _told_open(uncertain: Counter[str]) -> list[str]:
    kinds = ", ".join(f"{count} {kind}" for kind, count in uncertain.most_common(MOST_KINDS))
    more = f" and {len(uncertain) - MOST_KINDS} other kinds" if len(uncertain) > MOST_KINDS else ""
    note = f"left open by the texts, so in the column `uncertain` and not among the findings: {kinds}{more}"
    return [note] if uncertain else []
