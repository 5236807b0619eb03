"""Croissant metadata of a dataset folder, by which catalogues and search engines read what is in it.

MLCommons Croissant 1.0, http://mlcommons.org/croissant/1.0: files with their digests, and the columns of each split.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vesalius.data.datasets.card import Tally
from vesalius.data.datasets.streamed import shards_of
from vesalius.data.record import SPLITS, digest_file, numbered_rows

CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/", "dct": "http://purl.org/dc/terms/",
    "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "conformsTo": "dct:conformsTo",
    **{name: f"cr:{name}" for name in (
        "citeAs", "column", "extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes",
        "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex",
        "repeated", "replace", "separator", "source", "subField", "transform",
    )},
    "data": {"@id": "cr:data", "@type": "@json"}, "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
}  # fmt: skip
TYPES = {str: "sc:Text", bool: "sc:Boolean", int: "sc:Integer", float: "sc:Float"}
KINDS = {".jsonl": "application/jsonlines", ".parquet": "application/x-parquet", ".tar": "application/x-tar"}


def croissant(root: Path, tally: Tally) -> dict[str, Any]:
    """The JSON-LD of a dataset folder or of its shards. Digests are those of the files as they are now."""
    shards = shards_of(root)
    files = list(shards) or [f"{s}/metadata.jsonl" for s in SPLITS if (root / s / "metadata.jsonl").is_file()]
    files = files or ["metadata.jsonl"]
    name = root.resolve().name
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": (
            f"{tally.num_records} medical images with texts: "
            f"{', '.join(f'{m} {n}' for m, n in tally.modalities.most_common())}."
        ),
        "version": "1.0.0",
        "license": sorted(tally.licenses) or ["not named"],
        "distribution": [_file(root, file, shards.get(file, {}).get("sha256")) for file in files],
        "recordSet": [record for file in files if (record := _record_set(root, file))],
    }


def _file(root: Path, name: str, sha256: str | None) -> dict[str, Any]:
    path = root / name
    return {
        "@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": name, "encodingFormat": KINDS[path.suffix],
        "contentSize": f"{path.stat().st_size} B", "sha256": sha256 or digest_file(path),
    }  # fmt: skip


def _record_set(root: Path, name: str) -> dict[str, Any] | None:
    """The columns of one file; None of a WebDataset shard, whose members are files and not columns."""
    path = root / name
    if path.suffix == ".tar":
        return None
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        info = json.loads(pq.read_schema(path).metadata[b"huggingface"])["info"]["features"]
        words = {"string": "sc:Text", "int64": "sc:Integer", "float64": "sc:Float", "bool": "sc:Boolean"}
        kinds = {key: words[kind["dtype"]] for key, kind in info.items() if kind["_type"] == "Value"}
    else:
        _, first = next(numbered_rows(path), (0, {}))
        kinds = {key: TYPES.get(type(value), "sc:Text") for key, value in first.items()}
    label = path.stem if path.suffix == ".parquet" else ""
    record = "-".join(part for part in (path.parent.name if "/" in name else "records", label) if part)
    return {
        "@type": "cr:RecordSet", "@id": record, "name": record,
        "field": [
            {
                "@type": "cr:Field", "@id": f"{record}/{key}", "name": f"{record}/{key}", "dataType": kind,
                "source": {"fileObject": {"@id": name}, "extract": {"column": key}},
            }
            for key, kind in kinds.items()
        ],
    }  # fmt: skip
