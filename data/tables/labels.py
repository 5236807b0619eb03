"""Labels as sets have them (class folders, a column of classes): which words each has, which say that all is normal.

    labels_in(cell)          "effusion|mass" -> ("effusion", "mass")
    is_normal(label)         normal, healthy, no finding, 正常
    known_label(label, ...)  the key of `LABEL_WORDS` that it stands for, however it is spelt

A label has words where `captions_en` and `captions_zh` know it, or where it is a kind of finding that has one plain
name in each language. All others are quoted, since a set may call its classes anything.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any

from vesalius.data.findings.en import ENGLISH
from vesalius.data.findings.zh import CHINESE
from vesalius.data.texts.captions_en import ENGLISH_CAPTIONS
from vesalius.data.texts.captions_zh import CHINESE_CAPTIONS
from vesalius.data.texts.phrases import Phrases

MOST = 30
"""Labels of one image that are told."""

_NORMAL = frozenset((
    "normal", "healthy", "no finding", "no findings", "nofinding", "no abnormality", "no abnormalities",
    "no abnormal finding", "no abnormal findings", "no abnormality detected", "within normal limits", "unremarkable",
    "fundus healthy", "blood smear normal", "normal control", "healthy control",
    "正常", "健康", "无异常", "未见异常", "未见明显异常", "正常对照", "健康对照", "无病变",
))  # fmt: skip
# Too general for one word of the other language.
_VAGUE = (
    "opacity", "lesion", "enhancement", "gland", "edema", "thrombus", "inflammation", "prostate enlargement",
    "breast asymmetry", "degenerative change",
)  # fmt: skip
_RENAMED = {
    "tuberculosis": "结核", "pulmonary tuberculosis": "肺结核", "pneumoperitoneum": "气腹", "metaplasia": "化生",
    "metastasis": "转移灶", "pituitary adenoma": "垂体腺瘤",
}  # fmt: skip
"""Where the first name in the vocabulary of reports says more than the kind."""
_SHORT = {"covid": "COVID-19", "covid19": "COVID-19", "新冠肺炎": "COVID-19", "新冠": "COVID-19"}
_OF_CHEST = {
    "effusion": "pleural effusion",
    "edema": "pulmonary edema",
    "fibrosis": "pulmonary fibrosis",
    "积液": "pleural effusion",
}
"""What a label means where the image is of the chest."""
_COUNTED = frozenset((
    "nodule", "mass", "pleural effusion", "pneumothorax", "bulla", "cavity", "pulmonary embolism", "granuloma",
    "pericardial effusion", "fracture", "dislocation", "lytic lesion", "sclerotic lesion", "aortic aneurysm",
    "aortic dissection", "hiatal hernia", "infarct", "hemorrhage", "subdural hematoma", "epidural hematoma",
    "subarachnoid hemorrhage", "midline shift", "glioma", "meningioma", "pituitary adenoma", "schwannoma", "aneurysm",
    "cyst", "hepatic lesion", "hemangioma", "splenic lesion", "bowel obstruction", "kidney stone", "renal mass",
    "adrenal nodule", "abscess", "hernia", "breast mass", "polyp", "rib lesion",
))  # fmt: skip
"""Kinds of finding that take an article."""
TISSUE = frozenset((
    "adrenal", "artery_vein", "nervous_tissue", "elastic_cartilage", "fibrocartilage", "hyaline_cartilage",
    "colon_mucosa", "atherosclerosis", "dorsal_root_ganglion", "cardiac_muscle", "cochlea", "lung_alveoli",
    "olfactory_epithelium", "peripheral_nerve", "retina_histology", "skeletal_muscle", "skin_epidermis",
    "skin_sebaceous", "skin_thin", "small_intestine_epithelium", "smooth_muscle", "spinal_cord", "thyroid",
    "tongue_papilla", "tonsil", "respiratory_epithelium", "ureter", "bladder", "ihc_ki67",
))  # fmt: skip
"""Labels whose words are of tissue under the microscope; in other modalities the same label means another thing."""


def _kinds() -> dict[str, str]:
    """Kinds of finding that one plain name stands for in Chinese."""
    first = {kind: names[0] for kind, names in CHINESE.kinds.items() if names}
    return {kind: first[kind] for kind in ENGLISH.kinds if kind in first and kind not in _VAGUE} | _RENAMED


def _with_article(kind: str) -> str:
    return f"a{'n' if kind[0] in 'aeio' else ''} {kind}" if kind in _COUNTED else kind


LABEL_WORDS: dict[str, dict[str, Phrases]] = {
    "en": {kind: (_with_article(kind),) for kind in _kinds()} | ENGLISH_CAPTIONS.labels,
    "zh": {kind: (name,) for kind, name in _kinds().items()} | CHINESE_CAPTIONS.labels,
}
"""Noun phrases by language and label."""

_BETWEEN = re.compile(r"[|;；、\n]")
_GAPS = re.compile(r"[\s_-]+")
_PATTERN = re.compile(r"\[[^\]]*\]|\{\w+\}")
_BRITISH = (("tumour", "tumor"), ("haem", "hem"), ("oedema", "edema"), ("leukaem", "leukem"), ("anaem", "anem"))


def labels_in(cell: Any) -> tuple[str, ...]:
    """The labels of one cell, without doubles: parted by | ; or 、, as a list, or as the text of one.

    A comma parts none, since it belongs to many a label ("pneumonia, viral").
    """
    if isinstance(cell, str) and cell.strip().startswith("[") and cell.strip().endswith("]"):
        inner = cell.strip()
        try:
            cell = json.loads(inner)
        except (ValueError, RecursionError):  # as Python prints it, or no list at all
            cell = [part.strip(" '\"") for part in inner[1:-1].split(",")]
    parts = cell if isinstance(cell, list | tuple) else _BETWEEN.split("" if cell is None else str(cell))
    words = (" ".join(str(part).split()) for part in parts if part is not None)
    return tuple(dict.fromkeys(word for word in words if word))[:MOST]


def plain(label: str) -> str:
    """One spelling of a label: lower case, gaps as blanks, American."""
    key = _GAPS.sub(" ", label).strip().lower()
    for british, american in _BRITISH:
        key = key.replace(british, american)
    return key


def is_normal(label: str) -> bool:
    """Whether a label says that nothing is wrong."""
    return plain(label) in _NORMAL


def bare(phrase: str) -> str:
    """A noun phrase without its slots and its article."""
    return re.sub(r"^(?:an?|the) ", "", _PATTERN.sub("", phrase)).strip()


@functools.cache
def _spelt() -> dict[str, tuple[str, ...]]:
    """Keys of `LABEL_WORDS` by every spelling; those whose own name it is come first."""
    names = [(plain(key), key) for key in LABEL_WORDS["en"] if "/" not in key] + list(_SHORT.items())
    for words in (ENGLISH_CAPTIONS.labels, CHINESE_CAPTIONS.labels, *LABEL_WORDS.values()):
        names += [(plain(bare(phrase)), key) for key, phrases in words.items() for phrase in phrases]
    found: dict[str, list[str]] = {}
    for name, key in names:
        found.setdefault(name, []).append(key)
    return {name: tuple(dict.fromkeys(keys)) for name, keys in found.items()}


def known_label(label: str, modality: str, organ: str | None = None) -> str:
    """The key of `LABEL_WORDS` for a label of a modality, in whatever language and case; "" where it has none."""
    exact = [k for k in (f"{modality}/{organ}/{label}", label) if k in LABEL_WORDS["en"]]
    chest = [_OF_CHEST[plain(label)]] if organ in ("chest", "lung") and plain(label) in _OF_CHEST else []
    for key in (*exact, *chest, *_spelt().get(plain(label), ())):
        if (key not in TISSUE or modality == "pathology") and ("/" not in key or key.startswith(f"{modality}/")):
            return key
    return ""
