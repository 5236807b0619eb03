"""Two sets of chest X-rays that come with labels and no texts, as they are published: ChestX-ray14 and CheXpert."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

Row = dict[str, Any]

CHEXPERT = (
    "enlarged_cardiomediastinum", "cardiomegaly", "lung_opacity", "lung_lesion", "edema", "consolidation", "pneumonia",
    "atelectasis", "pneumothorax", "pleural_effusion", "pleural_other", "fracture", "support_devices",
)  # fmt: skip
"""Its findings, each a column of 1 (there), 0 (denied), -1 (left open) or nothing (not spoken of)."""
_PATIENT = re.compile(r"(patient\d+)/")
_CHEST: Row = {"modality": "X-ray", "organ": "chest"}


def chestxray14(row: Row, table: Path) -> Row:
    """ "Image Index", "Finding Labels" of the NIH (Wang et al., CVPR 2017), its images in images_001 to images_012."""
    name = row["image_index"]
    places = (f"images/{name}", *(f"images_{i:03d}/images/{name}" for i in range(1, 13)), name)
    found = next((p for p in places if len(name) < 200 and "\0" not in name and (table.parent / p).is_file()), name)
    return {
        **_CHEST, "file_name": found, "label": row["finding_labels"], "patient_id": row["patient_id"],
        "view": row.get("view_position", ""), "sex": row.get("patient_gender") or row.get("patient_sex", ""),
        "age": row.get("patient_age", ""), "source": "ChestX-ray14",
    }  # fmt: skip


def chexpert(row: Row, table: Path) -> Row:
    """One column for each finding (Irvin et al., AAAI 2019); paths begin with the name of the set's own folder.

    What is left open goes into `uncertain`. ValueError where a finding is neither 1, 0, -1 nor empty.
    """
    path = row["path"]
    inner = path.partition("/")[2]
    if not (table.parent / path[:500]).is_file() and inner:
        path = inner
    marks = {kind: _mark(kind, row.get(kind, "")) for kind in (*CHEXPERT, "no_finding")}
    there = [kind.replace("_", " ") for kind in CHEXPERT if marks[kind] == 1]
    possible = [kind.replace("_", " ") for kind in CHEXPERT if marks[kind] == -1]
    view = row.get("ap/pa") or row.get("frontal/lateral", "").lower()
    told: Row = {"label": "|".join(there) or ("no finding" if marks["no_finding"] == 1 else "")}
    if not told["label"]:  # all is denied, left open or not spoken of, so no finding can be told
        told |= {"text": f"Chest X-ray{f', {view} view' if view else ''}.", "text_origin": "label"}
    patient = _PATIENT.search(path)
    return {
        **_CHEST, **told, "file_name": path, "patient_id": patient[1] if patient else None, "view": view,
        "sex": row.get("sex", ""), "age": row.get("age", ""), "uncertain": json.dumps(possible), "source": "CheXpert",
    }  # fmt: skip


def _mark(kind: str, value: str) -> int:
    try:
        mark = float(value or 0)
    except ValueError:
        mark = 2
    if mark not in (1, 0, -1):
        raise ValueError(f"column {kind} holds '{value[:40]}', expected 1, 0, -1 or nothing; mend the row")
    return int(mark)
