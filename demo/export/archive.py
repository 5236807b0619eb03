"""A case as a ZIP of its pictures, recipes and words, and back."""

from __future__ import annotations

import json
import secrets
import tempfile
import zipfile
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from vesalius.data.hounsfield import hu_png
from vesalius.data.images.image import png_bytes, read_hu, read_image, read_recipe, recipe_texts
from vesalius.demo.cases.case import Case, CaseImage, case_of
from vesalius.demo.export.sheet import Figure, Sheet
from vesalius.demo.page import LABEL
from vesalius.demo.sentences import Refusal
from vesalius.demo.store.cases import save_case
from vesalius.demo.store.pictures import StoredPicture, add_picture, file_of
from vesalius.demo.store.schema import Store
from vesalius.inference.sample import Sample

KIND = "vesalius teaching case"
MOST_BYTES, MOST_ENTRY, MOST_FILES = 64 << 20, 16 << 20, 200
MOST_SIDE = 2048
"""Pixels of the longer side of a picture that is taken in."""
_NOT_OURS = (OSError, SyntaxError, TypeError, KeyError, AttributeError, ValueError, ArithmeticError, RecursionError)
_TIME = (1980, 1, 1, 0, 0, 0)  # so that a case gives the same bytes whenever it is written


def archive_bytes(store: Store, sheet: Sheet) -> bytes:
    """The whole ZIP file. Where the answer is hidden it holds no recipe, and cannot be taken in again."""
    files: dict[str, bytes] = {}
    images = []
    for figure in sheet.figures:
        name = f"images/{figure.number:02}.png"
        row: dict[str, Any] = {"file": name, "caption": figure.caption, "in_answer": figure.in_answer}
        files[name] = figure.png
        if not sheet.unknown:
            row |= {"label": figure.picture.label, "spacing": figure.picture.spacing}
            files[f"recipes/{figure.number:02}.json"] = _json(figure.recipe)
            if (units := _units(store, figure)) is not None:
                row["units"] = f"images/{figure.number:02}-hounsfield.png"
                files[row["units"]] = units
        images.append(row)
    told = {k: v for k, v in sheet.case.body().items() if k != "images" and not (sheet.unknown and not v)}
    whole = {
        "case.json": _json({"kind": KIND, "version": 1, "unknown": sheet.unknown, "note": LABEL, **told,
                            "images": images}),
        "README.txt": _readme(sheet).encode(),
        **files,
    }  # fmt: skip
    return zipped(whole)


def zipped(files: dict[str, bytes]) -> bytes:
    """Files by name as a ZIP that is the same whenever it is made."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, each in files.items():
            archive.writestr(zipfile.ZipInfo(name, _TIME), each, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _units(store: Store, figure: Figure) -> bytes | None:
    if not figure.picture.sample.raw16_sha256:
        return None
    try:
        return file_of(store, figure.picture, units=True).read_bytes()
    except ValueError:
        return None


def _readme(sheet: Sheet) -> str:
    inside = (
        "images/  the pictures, without their recipes, which would tell the answer"
        if sheet.unknown
        else "images/  the pictures; each PNG carries its recipe\nrecipes/ the same recipes as JSON"
    )
    again = "" if sheet.unknown else "\nThe tab 'Cases' of `vesalius demo` takes this file in again.\n"
    return f"{LABEL}.\n\n{chr(10).join(sheet.notes)}\n\ncase.json the case's words\n{inside}\n{again}"


def _json(row: Any) -> bytes:
    return (json.dumps(row, ensure_ascii=False, indent=1) + "\n").encode()


@dataclass(frozen=True, kw_only=True)
class _Read:
    """A picture of an archive, decoded."""

    sample: Sample
    png: bytes
    units: bytes | None
    label: str
    spacing: float | None


def take_in(store: Store, account: str, path: Path) -> Case:
    """Keep the case of an archive as a new one, with its pictures; those that this person has already are not doubled.

    Pictures are decoded and written anew, so that nothing of a file but its pixels and recipe comes in.
    ValueError where the file is no such archive; then nothing is kept.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            case, read = _read(archive)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno == 28:
            raise
        raise Refusal(
            "This is no ZIP file, or a damaged one; give one that the tab 'Cases' exported",
            "这不是 ZIP 文件，或文件已损坏；请提供由“病例”页导出的文件",
        ) from None
    job = f"import-{secrets.token_urlsafe(9)}"
    images = []
    for number, ((caption, in_answer), each) in enumerate(read):
        kept = _keep(store, account, job, number, each)
        images.append(CaseImage(picture=kept, caption=caption, in_answer=in_answer))
    return save_case(store, account, case_of({**case.body(), "images": [vars(i) for i in images]}))


def _keep(store: Store, account: str, job: str, number: int, read: _Read) -> str:
    with store.read() as db:
        row = db.execute(
            "SELECT id FROM pictures WHERE account = ? AND sha256 = ? LIMIT 1",
            [account, sha256(read.png).hexdigest()],
        ).fetchone()
    if row is not None:
        return str(row["id"])
    picture: StoredPicture = add_picture(
        store, account=account, job=job, number=number, sample=read.sample, png=read.png, hu_png=read.units,
        label=read.label, spacing=read.spacing,
    )  # fmt: skip
    return picture.id


def _read(archive: zipfile.ZipFile) -> tuple[Case, list[tuple[tuple[str, bool], _Read]]]:
    """Everything of an archive, in memory. ValueError where it is none, or too large."""
    entries = archive.infolist()
    if len(entries) > MOST_FILES or sum(e.file_size for e in entries) > MOST_BYTES:
        raise Refusal(
            f"This ZIP file is too large for a case: at most {MOST_FILES} files and {MOST_BYTES >> 20} MB",
            f"该 ZIP 文件过大：一个病例最多 {MOST_FILES} 个文件、{MOST_BYTES >> 20} MB",
        )
    try:
        told = json.loads(_entry(archive, "case.json"))
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or told.get("kind") != KIND or not isinstance(told.get("images"), list):
        raise Refusal(
            "This ZIP file holds no case; give one that the tab 'Cases' exported",
            "该 ZIP 文件中没有病例；请提供由“病例”页导出的文件",
        )
    if told.get("unknown"):
        raise Refusal(
            "This case was exported for learners, without its answer and recipes; give the ZIP file with the answer",
            "该病例是为学员导出的，不含答案和设置；请提供含答案的 ZIP 文件",
        )
    case = case_of({**told, "images": []})
    rows = told["images"]
    case_of({"images": [{**row, "picture": str(n)} for n, row in enumerate(rows) if isinstance(row, dict)]})
    return case, [((str(row.get("caption") or ""), row.get("in_answer") is True), _image(archive, row)) for row in rows]


def _image(archive: zipfile.ZipFile, row: Any) -> _Read:
    if not isinstance(row, dict) or not isinstance(row.get("file"), str):
        raise Refusal(
            "This ZIP file's case.json names an image without its file; export the case again",
            "该 ZIP 文件的 case.json 中有一幅图像没有文件名；请重新导出病例",
        )
    name, units = row["file"][:100], row.get("units")
    with tempfile.TemporaryDirectory(prefix="vesalius-") as folder:
        path = Path(folder) / "image.png"
        path.write_bytes(_entry(archive, row["file"]))
        try:
            array = read_image(path)
            sample = Sample.from_json(read_recipe(path))
        except _NOT_OURS as error:
            raise Refusal(
                f"{name}: is no PNG with a Vesalius recipe, so it is not known to be made up; take it out of the case, "
                "and export the case again",
                f"{name}：不是带有 Vesalius 设置的 PNG，无法确认是合成图像；请将其从病例中移除，然后重新导出",
            ) from error
        if sample.synthetic is not True:
            raise Refusal(
                f"{name}: does not say that it is synthetic; take it out of the case, and export the case again",
                f"{name}：未标明是合成图像；请将其从病例中移除，然后重新导出",
            )
        deep = None
        if isinstance(units, str):
            path.write_bytes(_entry(archive, units))
            try:
                values = read_hu(path)
            except ValueError as error:
                raise Refusal(
                    f"{units[:100]}: holds no Hounsfield units; export the case again",
                    f"{units[:100]}：不含亨氏单位（HU）；请重新导出病例",
                ) from error
            if values.shape != array.shape[:2]:
                raise Refusal(
                    f"{units[:100]}: is of another size than {name}; export the case again",
                    f"{units[:100]}：与 {name} 尺寸不同；请重新导出病例",
                )
            deep = hu_png(values, recipe_texts(sample.recipe()))
    if max(array.shape) > MOST_SIDE:
        raise Refusal(
            f"{name}: has more than {MOST_SIDE} pixels a side, which is more than a case's picture; take it out of "
            "the case, and export the case again",
            f"{name}：边长超过 {MOST_SIDE} 像素，病例图像不能这么大；请将其从病例中移除，然后重新导出",
        )
    spacing = row.get("spacing")
    return _Read(
        sample=sample, png=png_bytes(array, sample.recipe()), units=deep, label=str(row.get("label") or "")[:200],
        spacing=float(spacing) if isinstance(spacing, int | float) and 0 < spacing < 1000 else None,
    )  # fmt: skip


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """An entry within its bounds, whatever its header says of its size."""
    try:
        with archive.open(name) as file:
            content = file.read(MOST_ENTRY + 1)
    except KeyError:
        raise Refusal(
            f"This ZIP file lacks {name[:100]}; export the case again", f"该 ZIP 文件缺少 {name[:100]}；请重新导出病例"
        ) from None
    if len(content) > MOST_ENTRY:
        raise Refusal(
            f"{name[:100]}: is larger than {MOST_ENTRY >> 20} MB; take it out of the case, and export the case again",
            f"{name[:100]}：大于 {MOST_ENTRY >> 20} MB；请将其从病例中移除，然后重新导出",
        )
    return content
