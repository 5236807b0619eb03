"""`vesalius data build`: sources of any known kind -> one dataset folder, checked on the way.

Two passes: the first reads the sources without their pixels and finds what is wrong with any row, so that a message
comes before hours of work; it puts the drafts aside for the second, which decodes them on all cores. Each finished
image is a line of `.build/journal.jsonl`, from which a killed build goes on. The manifest is written last. Rows are on
disk, never all in memory; what the folder holds at the end does not depend on the number of workers.
"""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from vesalius.data.building.config import BuildConfig
from vesalius.data.building.encoding_pass import EncodingPass
from vesalius.data.building.journal import WORK, Aside, Journal, read_object, reusable, tidy
from vesalius.data.building.placing import Done, Placing, fresh_folder
from vesalius.data.building.survey import MOST_TOLD, Survey, survey_sources
from vesalius.data.command.counted import counted
from vesalius.data.command.progress import Progress
from vesalius.data.command.recipe import check_place
from vesalius.data.command.workers import Workers
from vesalius.data.datasets.card import Tally, write_card
from vesalius.data.record import SPLITS, digest_file, hold, open_atomic, read_rows, write_dataset, write_json
from vesalius.data.sources.draft import Encoded, Refused

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
    """the dataset folder"""
    num_records: int
    """records in all"""
    splits: dict[str, int]
    """records by split"""
    modalities: dict[str, int]
    """records by modality"""
    quarantined: tuple[Refused, ...] = ()
    num_quarantined: int = 0
    notes: tuple[str, ...] = ()
    """what one should know of the sources"""
    removed: dict[str, int] = dataclasses.field(default_factory=dict)
    uncertain: dict[str, int] = dataclasses.field(default_factory=dict)
    num_reused: int = 0
    unchanged: bool = False
    dry_run: bool = False
    """nothing was written"""


def build_dataset(config: BuildConfig) -> BuildSummary:
    """Read sources of any known kind and write one dataset folder.

    ValueError names the file (and line) of the first thing wrong and its remedy; with `keep_going` only where a source
    as a whole cannot be read or nothing is left. OSError where the disk is full. Neither leaves a manifest.
    """
    config.check()
    if config.stain:
        from vesalius.data.images.stain import open_normalizer

        open_normalizer()  # what is missing is told once, and not of each tile
    if not config.dry_run:
        check_place(config.out)
    with Workers(config.workers) as workers:
        return _build(config, workers)


def _build(config: BuildConfig, workers: Workers) -> BuildSummary:
    survey = survey_sources(config, workers)
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


def _fill(config: BuildConfig, survey: Survey, workers: Workers) -> BuildSummary:
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
class _Written:
    """How far the second pass is, for the message of a full disk."""

    images: int = 0
    bytes: int = 0


def _claim(config: BuildConfig, survey: Survey) -> BuildSummary | None:
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


def _write(config: BuildConfig, survey: Survey, written: _Written, workers: Workers) -> BuildSummary:
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
