"""Published datasets known by their columns and files: ROCO, ROCOv2, covid-chestxray-dataset, ChestX-ray14, CheXpert,
and folders of the Hub.

A layout turns a row of its own columns into one of the toolkit's, so that no flag is needed to read it.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.data.datasets.split import SPLIT_WORDS
from vesalius.data.modality import modality_in
from vesalius.data.tables.cells import is_parquet
from vesalius.data.tables.chest_labels import CHEXPERT, chestxray14, chexpert

Row = dict[str, Any]
IMAGE_ENDS = (".jpg", ".png", ".jpeg")
_SPLIT_AHEAD = re.compile(rf"({'|'.join(SPLIT_WORDS)})(?=[-_.]|$)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One dataset's way to name columns.

    columns: the keys that its header holds. exactly: whether it holds no others. row: a row -> one of the toolkit's;
    it is given the table's path too. ValueError, without the place, where a row can have no text.
    """

    name: str
    columns: frozenset[str]
    row: Callable[[Row, Path], Row]
    exactly: bool = False


@dataclass(frozen=True, kw_only=True)
class Part:
    """One table of a folder that has several, and the split that its place or name says."""

    table: Path
    split: str | None = None


def layout_of(keys: set[str]) -> Layout | None:
    """The layout whose columns these are, or None."""
    for layout in LAYOUTS.values():
        if keys == layout.columns if layout.exactly else keys >= layout.columns:
            return layout
    return None


COVID_KEPT = (
    "sex", "age", "view", "offset", "rt_pcr_positive", "survival", "intubated", "intubation_present", "went_icu",
    "in_icu", "needed_supplemental_o2", "extubated", "temperature", "po2_saturation", "leukocyte_count",
    "neutrophil_count", "lymphocyte_count", "doi",
)  # fmt: skip
"""The medical columns of covid-chestxray-dataset, and the DOI, which its licences want named; not date and location,
which may tell who the patient is."""
_VIEWS = {
    "l": "lateral", "pa": "PA", "ap": "AP", "ap supine": "AP supine", "ap erect": "AP erect",
    "ap semi erect": "AP semi-erect", "axial": "axial", "coronal": "coronal",
}  # fmt: skip
_UNTOLD = ("", "todo", "unknown")


def _covid(row: Row, table: Path) -> Row:
    notes, finding = row.get("clinical_notes", ""), row.get("finding", "")
    label = None if finding.lower() in _UNTOLD else finding
    if not notes and not label:
        raise ValueError("neither clinical_notes nor finding says anything; fill one or delete the row")
    told: Row = {"text_origin": "clinical notes"}
    if not notes and label:
        notes, told = _covid_text(row.get("modality", ""), row.get("view", ""), label), {"text_origin": "label"}
    name = row["filename"]
    return {
        "file_name": f"{row['folder'].strip('/')}/{name}" if row.get("folder") and name else name,
        "text": notes, "modality": row.get("modality", ""), "patient_id": row["patientid"], "label": label,
        "license": row.get("license"), "source": "covid-chestxray-dataset", **told,
        **{key: row[key] for key in COVID_KEPT if row.get(key)},
    }  # fmt: skip


def _covid_text(modality: str, view: str, label: str) -> str:
    """ "Pneumonia/Viral/COVID-19" seen PA -> "Chest X-ray, PA view: COVID-19 viral pneumonia." """
    *germ, kind = reversed(label.split("/"))
    finding = " ".join([*germ[:1], *(w.lower() for w in germ[1:]), kind if kind.isupper() else kind.lower()])
    seen = _VIEWS.get(view.lower(), view)
    return f"Chest {modality or 'image'}{f', {seen} view' if seen else ''}: {finding}."


def _said(caption: str) -> Row:
    """The modality that a figure's caption names, where it names one."""
    modality = modality_in(caption)
    return {"modality": modality.name} if modality else {}


def _roco2(row: Row, table: Path) -> Row:
    split = table.name.split("_")[0]
    folders = (f"{split}_images/{split}", f"{split}_images", split, f"{split}/images", "images", ".")
    return {
        "file_name": _first(table.parent, folders, row["id"]), "text": row["caption"], "source": "ROCOv2",
        "text_origin": "caption", **_said(row["caption"]),
    }  # fmt: skip


def _roco_data(row: Row, table: Path) -> Row:
    name = row["name"] if row["name"] and (table.parent / "images" / row["name"]).is_file() else ""
    path = f"images/{name}" if name else _first(table.parent, ("images", "."), row["id"])
    return {
        "file_name": path, "text": row["caption"], "source": "ROCO", "text_origin": "caption", **_said(row["caption"])
    }  # fmt: skip


def _first(root: Path, folders: tuple[str, ...], stem: str) -> str:
    """The first of the places where an image may lie, or else the likeliest; "" where it has no name."""
    if not stem or "\0" in stem or len(stem) > 200:
        return stem
    names = [f"{folder}/{stem}{end}" for folder, end in itertools.product(folders, IMAGE_ENDS)]
    return next((name for name in names if (root / name).is_file()), names[0])


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            name="covid-chestxray-dataset", row=_covid,
            columns=frozenset({"patientid", "finding", "view", "modality", "folder", "filename"}),
        ),
        Layout(
            name="ChestX-ray14", row=chestxray14, columns=frozenset({"image_index", "finding_labels", "patient_id"})
        ),
        Layout(name="CheXpert", row=chexpert, columns=frozenset({"path", "no_finding", *CHEXPERT})),
        Layout(name="ROCOv2", row=_roco2, columns=frozenset({"id", "caption"}), exactly=True),
        Layout(name="ROCO", row=_roco_data, columns=frozenset({"id", "name", "caption"}), exactly=True),
    )
}  # fmt: skip


def is_roco(table: Path) -> bool:
    """Whether a file is ROCO's list of captions: identifier, tab, caption, and no header."""
    return table.name.lower() == "captions.txt"


def roco_rows(lines: Iterator[str], table: Path) -> Iterator[tuple[int, Row | ValueError]]:
    """The rows of ROCO's captions.txt, with images/ beside it."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, tab, caption = line.strip().partition("\t")
        if not tab:
            yield (
                number,
                ValueError(
                    f"{table}:{number}: no tab between identifier and caption; write ROCO_00001, a tab, and the caption"
                ),
            )
            continue
        caption = caption.strip()
        yield number, {
            "file_name": _first(table.parent, ("images", "."), name.strip()), "text": caption, "source": "ROCO",
            "text_origin": "caption", **_said(caption),
        }  # fmt: skip


def parts_of(folder: Path) -> tuple[Part, ...]:
    """The tables of a folder in one of the published layouts; none where it is in no such layout.

    ValueError where a saved dataset names files that are not there.
    """
    if any((folder / name).is_file() for name in ("metadata.jsonl", "metadata.csv")):
        return ()
    return _saved(folder) or _roco_parts(folder) or _roco2_parts(folder) or _parquet_parts(folder)


def _roco_parts(folder: Path) -> tuple[Part, ...]:
    places = [(folder, _split_of(folder.parent if folder.name == "radiology" else folder))]
    places += [(folder / "radiology", _split_of(folder))]
    for split in sorted(_folders(folder)):
        if split.name.lower() in SPLIT_WORDS:
            places += [(split, _split_of(split)), (split / "radiology", _split_of(split))]
    return tuple(Part(table=p / "captions.txt", split=s) for p, s in places if (p / "captions.txt").is_file())


def _roco2_parts(folder: Path) -> tuple[Part, ...]:
    found = sorted(p for p in folder.glob("*_captions.csv") if p.is_file() and _SPLIT_AHEAD.match(p.name))
    return tuple(Part(table=p, split=_split_ahead(p.name)) for p in found)


def _parquet_parts(folder: Path) -> tuple[Part, ...]:
    """Parquet files in the folder, in data/, and in folders of splits; a name's beginning may say the split too."""
    below = sorted(p for p in _folders(folder) if not p.name.startswith("."))
    places = [folder, *(p for p in below if p.name == "data" or p.name.lower() in SPLIT_WORDS)]
    places += [p / word for p in below for word in SPLIT_WORDS if (p / word).is_dir()]
    found = [p for place in places for p in sorted(filter(is_parquet, place.iterdir())) if p.is_file()]
    return tuple(Part(table=p, split=_split_ahead(p.name) or _split_of(p.parent)) for p in found)


def _saved(folder: Path) -> tuple[Part, ...]:
    """A folder that `save_to_disk` of Hugging Face datasets wrote: one dataset, or one for each split."""
    whole = folder / "dataset_dict.json"
    if whole.is_file():
        names = _listed(whole, "splits", lambda each: each)
        return tuple(
            Part(table=part.table, split=SPLIT_WORDS.get(name.lower()))
            for name in names
            for part in _arrow_parts(folder / name, needed=whole)
        )
    return _arrow_parts(folder, needed=None)


def _arrow_parts(folder: Path, *, needed: Path | None) -> tuple[Part, ...]:
    state = folder / "state.json"
    if not state.is_file():
        if needed:
            raise ValueError(f"{needed}: names the split '{folder.name}', which is not there; save the dataset again")
        return ()
    if not (folder / "dataset_info.json").is_file():
        return ()
    files = [folder / name for name in _listed(state, "_data_files", lambda each: each["filename"])]
    for path in files:
        if not path.is_file():
            raise ValueError(f"{state}: names '{path.name}', which is not there; save the dataset again")
    return tuple(Part(table=path, split=_split_of(folder)) for path in files)


def _listed(path: Path, key: str, name_of: Callable[[Any], Any]) -> list[str]:
    """Names of files beside a JSON document that lists them. ValueError names it where it is damaged."""
    try:
        names = [name_of(each) for each in json.loads(path.read_text(encoding="utf-8"))[key]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{path}: damaged, holds no list `{key}`; save the dataset again") from None
    for name in names:
        if not isinstance(name, str) or name in ("", ".", "..") or Path(name).name != name or "\0" in name:
            raise ValueError(f"{path}: names {name!r}, which leads out of the folder; save the dataset again")
    return names


def _folders(folder: Path) -> Iterator[Path]:
    return (p for p in folder.iterdir() if p.is_dir() and os.access(p, os.R_OK | os.X_OK))


def _split_of(folder: Path) -> str | None:
    return SPLIT_WORDS.get(folder.name.lower())


def _split_ahead(name: str) -> str | None:
    found = _SPLIT_AHEAD.match(name)
    return SPLIT_WORDS[found[1].lower()] if found else None
