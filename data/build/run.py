"""`vesalius data build`: sources of any known kind -> one dataset folder, checked on the way.

Two passes: the first reads the sources without their pixels and finds what is wrong with any row, so that a message
comes before hours of work; it puts the drafts aside for the second, which decodes them on all cores. Each finished
image is a line of `.build/journal.jsonl`, from which a killed build goes on. The manifest is written last. Rows are on
disk, never all in memory; what the folder holds at the end does not depend on the number of workers.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import itertools
import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from vesalius.data.build.config import BuildConfig, check_config
from vesalius.data.datasets.card import Tally, write_card
from vesalius.data.command.counted import counted
from vesalius.data.sources.draft import Draft, Encoded, Refused
from vesalius.data.build.encoding_pass import EncodingPass, digest_of, draft_key
from vesalius.data.findings.read import as_findings, findings_in, left_open
from vesalius.data.build.journal import WORK, Aside, Journal, read_object, reusable, tidy
from vesalius.data.build.placing import Done, Placing, fresh_folder
from vesalius.data.command.progress import Progress
from vesalius.data.command.recipe import check_place
from vesalius.data.sources.reading import notes_of, reading_of
from vesalius.data.record import SPLITS, digest_file, hold, open_atomic, read_rows, write_dataset, write_json
from vesalius.data.scrub.text import scrub_drafts, told
from vesalius.data.sources.walk import drafts_of
from vesalius.data.datasets.split import hashed_split, patient_key
from vesalius.data.command.workers import Workers

MOST_TOLD = 1000
"""Quarantined rows that a summary holds; `quarantine.jsonl` has all."""
MOST_KINDS = 20
"""Kinds of finding that a note names."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, kw_only=True)
class BuildSummary:
    """What a build wrote.

    quarantined: the first of the bad rows; num_quarantined: how many there are. num_reused: images kept from a stopped
    build. unchanged: the folder was whole already and nothing was written.
    removed: identifiers taken out of the texts, by kind. uncertain: findings that the texts leave open, by kind.
    In a dry run `splits` counts what is known before pixels are read; the rest is under "by content".
    """

    path: Path
    num_records: int
    splits: dict[str, int]
    modalities: dict[str, int]
    quarantined: tuple[Refused, ...] = ()
    num_quarantined: int = 0
    notes: tuple[str, ...] = ()
    removed: dict[str, int] = dataclasses.field(default_factory=dict)
    uncertain: dict[str, int] = dataclasses.field(default_factory=dict)
    num_reused: int = 0
    unchanged: bool = False
    dry_run: bool = False


def build(config: BuildConfig) -> BuildSummary:
    """Read the sources and write the dataset folder.

    ValueError names the file (and line) of the first thing wrong and its remedy; with `keep_going` only where a source
    as a whole cannot be read or nothing is left. OSError where the disk is full. Neither leaves a manifest.
    """
    check_config(config)
    if not config.dry_run:
        check_place(config.out)
    with Workers(config.workers) as workers:
        return _build(config, workers)


def _build(config: BuildConfig, workers: Workers) -> BuildSummary:
    survey = _survey(config, workers)
    if config.dry_run:
        return BuildSummary(
            path=config.out,
            num_records=survey.num_drafts,
            splits=dict(survey.splits),
            modalities=dict(survey.modalities),
            quarantined=tuple(survey.refused),
            num_quarantined=survey.num_refused,
            notes=tuple(survey.notes),
            removed=dict(survey.removed),
            uncertain=dict(survey.uncertain),
            dry_run=True,
        )
    with hold(config.out):
        return _claim(config, survey) or _fill(config, survey, workers)


def _fill(config: BuildConfig, survey: _Survey, workers: Workers) -> BuildSummary:
    """The second pass. OSError, where the disk is full, tells how much room is needed."""
    written = _Written()
    try:
        return _write(config, survey, written, workers)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        left = max(survey.num_drafts - written.images, 1)
        need = left * (written.bytes / written.images if written.images else survey.num_bytes / survey.num_drafts)
        raise OSError(
            error.errno,
            f"{error.strerror}: no room to write this file; about {need / 1e6:.1f} MB more are "
            f"needed under {config.out}. Free space and run the same command again (it goes on from here), "
            "or choose another --out",
            error.filename or str(config.out),
        ) from None


@dataclass
class _Survey:
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


@dataclass
class _Written:
    """How far the second pass is, for the message of a full disk."""

    images: int = 0
    bytes: int = 0


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


def _survey(config: BuildConfig, workers: Workers) -> _Survey:
    free = ("sources", "out", "keep_going", "workers", "json", "dry_run", "mapping")
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k not in free}
    settings["sources"] = [str(s.resolve()) for s in config.sources]
    reading = reading_of(config, workers)
    survey = _Survey(settings=digest_of(settings), drafts=Aside(config.out))
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


def _claim(config: BuildConfig, survey: _Survey) -> BuildSummary | None:
    """Take the folder, or refuse a foreign one; the summary where it already holds this very dataset, whole."""
    out = config.out
    if (out / "manifest.json").is_file():
        manifest = read_object(out / "manifest.json")
        made = manifest.get("build") or {}
        if made.get("settings") != survey.settings or made.get("content") != survey.content:
            raise ValueError(
                f"{out}: holds a dataset from other sources or settings; choose another --out, or delete it"
            )
        for split, facts in manifest["splits"].items():
            path = out / split / "metadata.jsonl"
            if not path.is_file() or digest_file(path) != facts["sha256"]:
                raise ValueError(
                    f"{path}: changed since it was built; delete {out} and build it again, or choose another --out"
                )
        rows = read_rows(out / "quarantine.jsonl") if made["num_quarantined"] else iter(())
        refused = tuple(Refused(**row) for row in itertools.islice(rows, MOST_TOLD))
        shutil.rmtree(out / WORK, ignore_errors=True)
        return BuildSummary(
            path=out,
            num_records=made["num_records"],
            splits={s: f["num_records"] for s, f in manifest["splits"].items()},
            modalities=made["modalities"],
            quarantined=refused,
            num_quarantined=made["num_quarantined"],
            notes=tuple(made["notes"]),
            removed=made.get("removed", {}),
            uncertain=made.get("uncertain", {}),
            unchanged=True,
        )
    mark = out / WORK / "settings.json"
    if mark.is_file():
        if read_object(mark).get("settings") != survey.settings:
            raise ValueError(
                f"{out}: holds an unfinished build with other sources or settings; delete it, or choose another --out"
            )
    elif out.is_dir() and any(p.name != WORK for p in out.iterdir()):
        raise ValueError(f"{out}: is not empty and was not made by this command; choose another --out")
    return None


def _write(config: BuildConfig, survey: _Survey, written: _Written, workers: Workers) -> BuildSummary:
    out, work = config.out, config.out / WORK
    work.mkdir(parents=True, exist_ok=True)
    write_json(work / "settings.json", {"settings": survey.settings})
    for split in SPLITS:
        (out / split / "images").mkdir(parents=True, exist_ok=True)
    fresh = fresh_folder(work)
    rows: Aside[Done] = Aside(work)
    refused: list[Refused] = []
    num_refused = num_reused = 0
    placing = Placing(
        out, named=survey.named, resplit=config.resplit, seed=config.seed, val=config.val, test=config.test
    )

    # Each draft becomes an image and a line of the journal, or a line of the quarantine.
    with (
        Journal(work / "journal.jsonl") as journal,
        open_atomic(work / "quarantine.jsonl") as quarantine,
        Progress("data build", survey.num_drafts, quiet=config.json) as bar,
    ):
        images = EncodingPass(
            workers=workers, size=config.size, folder=fresh, reused=lambda key: reusable(out, journal.get(key))
        )
        for each, outcome in images.outcomes(survey.drafts, survey.num_drafts):
            if isinstance(outcome, tuple) and placing.taken(outcome[0]):  # the same source given twice
                assert isinstance(each, tuple)
                outcome = images.again(*each)
            if isinstance(outcome, Exception):
                if not isinstance(outcome, ValueError) or not config.keep_going:
                    raise outcome
                assert isinstance(each, tuple)
                outcome = each[1].refused(str(outcome))
            if isinstance(outcome, Refused):
                refused += [outcome][: MOST_TOLD - len(refused)]
                quarantine.write((json.dumps(dataclasses.asdict(outcome), ensure_ascii=False) + "\n").encode())
                num_refused += 1
                bar.step(int(not isinstance(each, Refused)))
                continue
            if isinstance(outcome, Encoded):
                assert isinstance(each, tuple)
                done = placing.place(each[1], outcome)
                journal.append({"key": each[0], "place": done[1], "record": done[0].to_json()})
            else:
                done = outcome
                num_reused += 1
            rows.add(done)
            placing.take(done)
            written.images += 1
            written.bytes += (out / done[0].file_name).stat().st_size
            bar.step()
    if not written.images:
        raise ValueError(
            f"{config.sources[0]}: nothing is left, all {num_refused} images are bad; the first: {refused[0].reason}"
        )

    # Train is never empty: where chance left it so, the patient nearest to it moves there.
    final, notes = placing.fill_train(rows)
    notes = [*survey.notes, *notes]
    tally = Tally(record for record, _ in final)
    if torn := tally.patients.divided():
        notes.append(
            f"{counted(len(torn), 'patient or group is', 'patients or groups are')} in more than one split, as the "
            f"sources say ({', '.join(torn[:3])}); --resplit divides by patient"
        )

    # The rows, the card, and at the very end the manifest, when all before it is on the disk.
    tidy(out, placing.used)
    (out / "quarantine.jsonl").unlink(missing_ok=True)
    if refused:
        os.replace(work / "quarantine.jsonl", out / "quarantine.jsonl")
    modalities = dict(tally.modalities.most_common())
    made = {
        "settings": survey.settings,
        "content": survey.content,
        "num_records": tally.num_records,
        "num_quarantined": num_refused,
        "modalities": modalities,
        "notes": notes,
        "removed": dict(survey.removed),
        "uncertain": dict(survey.uncertain),
        **{name: getattr(config, name) for name in ("seed", "val", "test", "size", "resplit")},
    }
    card = write_card(out.resolve().name, tally, num_refused, notes)
    if hasattr(os, "sync"):
        os.sync()
    write_dataset(out, (record for record, _ in final), card=card, manifest={"build": made})
    shutil.rmtree(work, ignore_errors=True)
    return BuildSummary(
        path=out, num_records=tally.num_records, splits={s: tally.splits[s] for s in SPLITS if tally.splits[s]},
        modalities=modalities, quarantined=tuple(refused), num_quarantined=num_refused, notes=tuple(notes),
        num_reused=num_reused, removed=dict(survey.removed), uncertain=dict(survey.uncertain),
    )  # fmt: skip
