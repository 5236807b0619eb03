"""`vesalius data build`: sources of any known kind -> one dataset folder, checked on the way.

Two passes over the sources: the first reads no pixels and finds what is wrong with any row, so that a message comes
before hours of work; the second decodes one image at a time. Each finished image is a line of `.build/journal.jsonl`,
from which a killed build goes on. The manifest is written last.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from vesalius.data.card import write_card
from vesalius.data.findings import as_findings, findings_in
from vesalius.data.journal import WORK, append, read_journal, read_object, reusable, tidy
from vesalius.data.modality import find_modality
from vesalius.data.progress import Progress
from vesalius.data.record import SPLITS, Record, digest_file, hold, read_rows, write_atomic, write_dataset, write_json
from vesalius.data.sources import Draft, Reading, Refused, drafts
from vesalius.data.split import divided, hashed_split, patient_key

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """What to read, where to write, and how to split."""

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Folders or files to read: metadata.jsonl folders, CSV tables, DICOM, folders named for classes."""
    out: Path
    """Dataset folder to write; new, empty, or left by the same command when it was stopped."""
    keep_going: bool = False
    """Set bad rows aside in quarantine.jsonl and build from the rest, instead of stopping at the first."""
    val: float = 0.1
    """Share of patients in the validation split, where the sources name no split."""
    test: float = 0.1
    """Share of patients in the test split, where the sources name no split."""
    seed: int = 0
    """Seed of the split: a patient's split depends on it and on the patient alone, so it survives additions."""
    resplit: bool = False
    """Ignore the splits that the sources name, and split by patient."""
    size: int = 0
    """Longest side of the stored images in pixels, never enlarged; 0 keeps each as it is."""
    modality: str | None = None
    """Modality of sources that do not say theirs, such as folders named for classes."""
    salt: str = "vesalius"
    """Secret that keys the hash of DICOM patient ids; set your own before you share the dataset."""
    allow_burned_in: bool = False
    """Take DICOM images that say that text is burned into their pixels."""
    read_findings: bool = False
    """Read the findings of rows that list none from their texts, by rules for English and Chinese reports."""
    json: bool = False
    """Print the summary as JSON, without progress."""
    dry_run: bool = False
    """Read the sources without their pixels, report, and write nothing."""


@dataclass(frozen=True, kw_only=True)
class BuildSummary:
    """What a build wrote.

    num_reused: images kept from a stopped build. unchanged: the folder was whole already and nothing was written.
    In a dry run `splits` counts what is known before pixels are read; the rest is under "by content".
    """

    path: Path
    num_records: int
    splits: dict[str, int]
    modalities: dict[str, int]
    quarantined: tuple[Refused, ...] = ()
    notes: tuple[str, ...] = ()
    num_reused: int = 0
    unchanged: bool = False
    dry_run: bool = False


def build(config: BuildConfig) -> BuildSummary:
    """Read the sources and write the dataset folder.

    ValueError names the file (and line) of the first thing wrong and its remedy; with `keep_going` only where a source
    as a whole cannot be read or nothing is left. OSError where the disk is full. Neither leaves a manifest.
    """
    _check(config)
    survey = _survey(config)
    if config.dry_run:
        return BuildSummary(
            path=config.out,
            num_records=survey.num_drafts,
            splits=dict(survey.splits),
            modalities=dict(survey.modalities),
            quarantined=tuple(survey.refused),
            dry_run=True,
        )
    with hold(config.out):
        return _claim(config, survey) or _fill(config, survey)


def _fill(config: BuildConfig, survey: _Survey) -> BuildSummary:
    """The second pass. OSError, where the disk is full, tells how much room is needed."""
    written = _Written(total=survey.num_drafts)
    try:
        return _write(config, survey, written)
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


def _check(config: BuildConfig) -> None:
    if not config.sources:
        raise ValueError("no SOURCE; name at least one folder or file to read")
    if min(config.val, config.test) < 0 or config.val + config.test >= 1:
        raise ValueError(
            f"val {config.val} and test {config.test}: expected shares from 0 that leave some of 1 for train"
        )
    if config.size < 0:
        raise ValueError(f"size {config.size}: expected the longest side in pixels, or 0 to keep images as they are")
    out = config.out.resolve()
    for source in config.sources:
        if out.is_relative_to(source.resolve()):
            raise ValueError(f"{config.out}: lies inside the source {source}; choose another --out")


@dataclass
class _Survey:
    """The first pass: what the sources say before any pixel is read. named: the split that they give to a patient."""

    settings: str
    num_drafts: int = 0
    num_bytes: int = 0
    splits: Counter[str] = dataclasses.field(default_factory=Counter)
    modalities: Counter[str] = dataclasses.field(default_factory=Counter)
    refused: list[Refused] = dataclasses.field(default_factory=list)
    content: str = ""
    named: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclass
class _Written:
    """How far the second pass is, for the message of a full disk."""

    total: int
    images: int = 0
    bytes: int = 0


def _drafts(config: BuildConfig) -> Iterator[Draft | Refused]:
    modality = find_modality(config.modality) if config.modality else None
    reading = Reading(modality=modality, salt=config.salt, allow_burned_in=config.allow_burned_in)
    for source in config.sources:
        for each in drafts(source, reading):
            yield _read(each) if config.read_findings and isinstance(each, Draft) else each


def _read(draft: Draft) -> Draft:
    """The draft with the findings that its text states, where its row lists none."""
    findings = draft.record.findings or as_findings(findings_in(draft.record.text))
    return dataclasses.replace(draft, record=dataclasses.replace(draft.record, findings=findings))


def _survey(config: BuildConfig) -> _Survey:
    free = ("sources", "out", "keep_going", "json", "dry_run")
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k not in free}
    settings["sources"] = [str(s.resolve()) for s in config.sources]
    survey = _Survey(settings=_digest(settings))
    content, unnamed = hashlib.blake2b(digest_size=16), Counter[str | None]()
    for each in _drafts(config):
        if isinstance(each, Refused):
            if not config.keep_going:
                raise ValueError(each.reason)
            survey.refused.append(each)
            content.update(each.reason.encode())
            continue
        survey.num_drafts += 1
        survey.num_bytes += each.path.stat().st_size
        survey.modalities[each.record.modality] += 1
        split = None if config.resplit else each.split
        key = patient_key(each.record)
        if split and key:
            survey.named.setdefault(key, split)
        unnamed[key] += not split
        survey.splits[split or ""] += 1
        content.update(_draft_key(each).encode())
    del survey.splits[""]
    for key, count in unnamed.items():
        if count:
            survey.splits[_hashed(config, survey, key)[0] if key else "by content"] += count
    survey.content = content.hexdigest()
    if not survey.num_drafts:
        first = f"; the first: {survey.refused[0].reason}" if survey.refused else ""
        raise ValueError(
            f"{config.sources[0]}: nothing is left to build from, {len(survey.refused)} rows are bad{first}"
        )
    return survey


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def _draft_key(draft: Draft) -> str:
    """Names a draft and the state of its file: the same key means that the image need not be made again."""
    state = draft.path.stat()
    row = draft.record.to_json()
    return _digest([draft.where, str(draft.path), state.st_size, state.st_mtime_ns, row, draft.split, draft.dicom])


def _hashed(config: BuildConfig, survey: _Survey, key: str) -> tuple[str, float | None]:
    """The split of a row that names none: that of the patient's other rows, else by hash, with the deciding number."""
    if key in survey.named:
        return survey.named[key], None
    return hashed_split(key, seed=config.seed, val=config.val, test=config.test)


def _claim(config: BuildConfig, survey: _Survey) -> BuildSummary | None:
    """Take the folder, or refuse a foreign one; the summary where it already holds this very dataset, whole."""
    out = config.out
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file; choose a folder for --out")
    if (out / "manifest.json").is_file():
        manifest = read_object(out / "manifest.json")
        made = manifest.get("build", {})
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
        refused = (
            tuple(Refused(**row) for row in read_rows(out / "quarantine.jsonl")) if made["num_quarantined"] else ()
        )
        shutil.rmtree(out / WORK, ignore_errors=True)
        return BuildSummary(
            path=out,
            num_records=made["num_records"],
            splits={s: f["num_records"] for s, f in manifest["splits"].items()},
            modalities=made["modalities"],
            quarantined=refused,
            notes=tuple(made["notes"]),
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


def _write(config: BuildConfig, survey: _Survey, written: _Written) -> BuildSummary:
    out, work = config.out, config.out / WORK
    work.mkdir(parents=True, exist_ok=True)
    write_json(work / "settings.json", {"settings": survey.settings})
    for split in SPLITS:
        (out / split / "images").mkdir(parents=True, exist_ok=True)
    journal = read_journal(work / "journal.jsonl")
    records: list[tuple[Record, float | None]] = []
    refused: list[Refused] = []
    used: set[str] = set()
    reused = 0

    # Each draft becomes an image and a line of the journal, or a line of the quarantine.
    with (work / "journal.jsonl").open("a", encoding="utf-8") as log, _progress(config, survey) as bar:
        log.write("\n")  # ends a line that a full disk or a kill cut short
        for each in _drafts(config):
            if isinstance(each, Refused):
                refused.append(each)
                continue
            key = _draft_key(each)
            done = reusable(out, journal.get(key), used)
            if done is None:
                try:
                    done = _make(config, survey, each, used)
                except ValueError as error:
                    if not config.keep_going:
                        raise
                    file, _, row = each.where.rpartition(":") if each.where != str(each.path) else (each.where, "", "")
                    refused.append(Refused(file=file, row=int(row) if row else None, reason=str(error)))
                    bar.step()
                    continue
                append(log, {"key": key, "place": done[1], "record": done[0].to_json()})
            else:
                reused += 1
            records.append(done)
            used.add(done[0].file_name)
            written.images += 1
            written.bytes += (out / done[0].file_name).stat().st_size
            bar.step()
    if not records:
        raise ValueError(
            f"{config.sources[0]}: nothing is left, all {len(refused)} images are bad; the first: {refused[0].reason}"
        )

    # Train is never empty: where chance left it so, the patient nearest to it moves there.
    final, notes = _fill_train(out, records)
    torn = divided(final)
    if torn:
        notes.append(
            f"{len(torn)} patients or groups are in more than one split, as the sources say "
            f"({', '.join(torn[:3])}); --resplit divides by patient"
        )

    # The rows, the card, and at the very end the manifest.
    tidy(out, {r.file_name for r in final})
    if refused:
        lines = "".join(json.dumps(dataclasses.asdict(r), ensure_ascii=False) + "\n" for r in refused)
        write_atomic(out / "quarantine.jsonl", lines.encode())
    modalities = dict(Counter(r.modality for r in final).most_common())
    made = {
        "settings": survey.settings,
        "content": survey.content,
        "num_records": len(final),
        "num_quarantined": len(refused),
        "modalities": modalities,
        "notes": notes,
        **{name: getattr(config, name) for name in ("seed", "val", "test", "size", "resplit")},
    }
    write_dataset(out, final, card=write_card(out.resolve().name, final, len(refused), notes), manifest={"build": made})
    shutil.rmtree(work, ignore_errors=True)
    counts = Counter(r.split for r in final)
    return BuildSummary(
        path=out, num_records=len(final), splits={s: counts[s] for s in SPLITS if counts[s]}, modalities=modalities,
        quarantined=tuple(refused), notes=tuple(notes), num_reused=reused,
    )  # fmt: skip


def _progress(config: BuildConfig, survey: _Survey) -> Progress:
    return Progress("data build", survey.num_drafts, quiet=config.json)


def _make(config: BuildConfig, survey: _Survey, draft: Draft, used: set[str]) -> tuple[Record, float | None]:
    """Decode one draft and write its image. The name holds the image's digest, so no two sources collide."""
    from vesalius.data.encode import encode

    content, window = encode(draft, config.size)
    sha256 = hashlib.sha256(content).hexdigest()
    split, place = (None if config.resplit else draft.split), None
    if split is None:
        split, place = _hashed(config, survey, patient_key(draft.record) or sha256)
    stem = "".join(
        c if c.isalnum() and c.isascii() else "-" for c in Path(draft.record.file_name).stem or draft.record.modality
    )
    name = f"{stem.strip('-')[:60].lower() or 'image'}-{sha256[:10]}"
    number = 1
    while (file_name := f"{split}/images/{name}{f'-{number}' if number > 1 else ''}.png") in used:
        number += 1
    write_atomic(config.out / file_name, content)
    extra = {**draft.record.extra, **({"window": window} if window else {})}
    return dataclasses.replace(draft.record, file_name=file_name, split=split, sha256=sha256, extra=extra), place


def _fill_train(out: Path, records: list[tuple[Record, float | None]]) -> tuple[list[Record], list[str]]:
    """Where no record is in train, move the hashed patient with the largest number, nearest to train's share."""
    if any(record.split == "train" for record, _ in records):
        return [record for record, _ in records], []
    places = [place for _, place in records if place is not None]
    if not places:
        names = ", ".join(sorted({r.split for r, _ in records}))
        raise ValueError(
            f"{out}: the sources put every image in {names} and none in train; correct their splits, or pass --resplit"
        )
    final = []
    for record, place in records:
        if place == max(places):
            file_name = "train/" + record.file_name.split("/", 1)[1]
            os.replace(out / record.file_name, out / file_name)
            record = dataclasses.replace(record, file_name=file_name, split="train")
        final.append(record)
    return final, ["so few patients that train was empty; one was moved there"]
