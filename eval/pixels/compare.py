"""Two folders of pictures, each drawn one beside the one that it should be, as one page and one JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vesalius.data.command.progress import progress
from vesalius.data.hounsfield import CHUNK
from vesalius.data.images.image import fit_image, load_fitted, read_alike, read_image
from vesalius.data.modality import find_modality
from vesalius.data.record import load_records, write_json
from vesalius.eval.fidelity.metrics import MIN_IMAGES
from vesalius.eval.pictures import image_uri
from vesalius.eval.pixels import image_metrics, image_sets
from vesalius.eval.pixels.config import CompareConfig
from vesalius.eval.report import Figure, Section, check_out, write_page
from vesalius.inference.sample import load_samples

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm")
WORST = 4


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A picture, what it should be, and where a mask had it drawn anew. modality: None where nobody says it."""

    name: str
    drawn: Path
    truth: Path
    mask: Path | None
    modality: str | None
    hounsfield: bool = False


def compare(config: CompareConfig) -> dict[str, Any]:
    """Compare the pictures of two folders, pair by pair, and write report.html and report.json; returns what the JSON
    holds.

    ValueError where a picture has no partner, or sizes differ and no modality says how to bring them to one.
    """
    check_out(config.out, "report", ["report.json"])
    pairs = find_pairs(config)
    if config.dry_run:
        return {"pairs": len(pairs), "masks": sum(p.mask is not None for p in pairs)}
    drawn: list[torch.Tensor] = []
    truth: list[torch.Tensor] = []
    masks: list[torch.Tensor | None] = []
    for pair in progress(pairs, "reading pictures", len(pairs), quiet=config.json):
        one, two, mask = read_pair(pair)
        drawn.append(one)
        truth.append(two)
        masks.append(mask)
    result = image_metrics.measure(drawn, truth, masks, names=[p.name for p in pairs])
    result["pixels"] = pixels(pairs, drawn, truth, config.seed)
    config.out.mkdir(parents=True, exist_ok=True)
    write_json(config.out / "report.json", result)
    sections = image_metrics.sections(result)
    if "rows" in result["pixels"]:
        sections += image_sets.sections(result["pixels"], "drawn")
    title = f"{len(pairs)} pictures of {config.drawn.resolve().name} beside those of {config.truth.resolve().name}"
    write_page(config.out / "report.html", "Image against image", title, [*sections, _worst(result, pairs)])
    return result


def find_pairs(config: CompareConfig) -> list[Pair]:
    """The pairs of two folders. ValueError where a picture has no partner, or two."""
    modality = find_modality(config.modality).name if config.modality else None
    asked: list[tuple[str, str | None, list[Path]]] = []  # the partner's name, modality, files of one picture
    if (config.drawn / "metadata.jsonl").is_file():
        for s in load_samples(config.drawn):
            files = list(dict.fromkeys(s.picture(config.drawn, units=units) for units in (True, False)))
            asked.append((s.source or Path(s.file_name).name, s.modality, files))
    else:
        asked = [(path.name, modality, [path]) for path in images_of(config.drawn)]
    partners, masks = _by_name(config.truth), _by_name(config.masks) if config.masks else {}
    pairs, lacking = [], []
    for name, kind, files in asked:
        truth = partners.get(name) or partners.get(Path(name).stem)
        mask = masks.get(name) or masks.get(Path(name).stem)
        if truth is None or (config.masks and mask is None):
            lacking.append(name)
            continue
        hounsfield = kind is not None and holds_hu(files[0]) and holds_hu(truth)
        path = files[0] if hounsfield else files[-1]
        pairs.append(Pair(name=path.name, drawn=path, truth=truth, mask=mask, modality=kind, hounsfield=hounsfield))
    if lacking:
        where = f"{config.truth}{f' or {config.masks}' if config.masks else ''}"
        raise ValueError(
            f"{config.drawn}: {len(lacking)} of {len(asked)} pictures have no partner of their name in {where} "
            f"({', '.join(lacking[:3])}{' ...' if len(lacking) > 3 else ''}); name the images alike"
        )
    return pairs


def images_of(folder: Path) -> list[Path]:
    """The images of a folder: the records of a dataset, a run's samples (of CT their units), else the files in it and
    below. ValueError where none is."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give a folder of images")
    if (folder / "manifest.json").is_file():
        found = [folder / r.file_name for r in load_records(folder)]
    elif (folder / "metadata.jsonl").is_file() and (folder / "config.json").is_file():
        found = [s.picture(folder) for s in load_samples(folder)]
    else:
        found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise ValueError(f"{folder}: holds no images ({', '.join(SUFFIXES)})")
    return found


def holds_hu(path: Path) -> bool:
    """Whether an image file says that its values are Hounsfield units."""
    if path.suffix.lower() != ".png":
        return False
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return CHUNK in image.info
    except (OSError, SyntaxError, ValueError):
        return False  # reading it says what is wrong


def _by_name(folder: Path) -> dict[str, Path]:
    """Images by name, and by name without suffix where that is one image's alone. ValueError where a name is two's."""
    found: dict[str, Path] = {}
    stems: dict[str, list[Path]] = {}
    for path in images_of(folder):
        if path.name in found:
            raise ValueError(f"{folder}: two images are named {path.name}; give a folder in which names are unique")
        found[path.name] = path
        stems.setdefault(path.stem, []).append(path)
    return {**{stem: paths[0] for stem, paths in stems.items() if len(paths) == 1}, **found}


def read_pair(pair: Pair) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Two pictures, uint8 [3, H, W], of the size of the drawn one, and the mask, bool [H, W].

    Where a modality says how, the other is brought to that size as a model sees it, CT with known units in its three
    windows; else both are as they are. ValueError where sizes differ and there is no modality.
    """
    drawn, truth = read_alike(pair.drawn, pair.truth)
    shape = drawn.shape[0], drawn.shape[1]
    if pair.modality is None:
        if truth.shape[:2] != shape:
            raise ValueError(
                f"{pair.drawn}: is {shape[0]} x {shape[1]} pixels (height x width), and {pair.truth} "
                f"{truth.shape[0]} x {truth.shape[1]}; give --modality, by which they are brought to one size"
            )
        images = [drawn, truth]
    else:
        kind = find_modality(pair.modality)
        if pair.hounsfield:
            images = [load_fitted(path, kind, shape) for path in (pair.drawn, pair.truth)]
        else:
            images = [fit_image(x, kind, shape) for x in (drawn, truth)]
    images = [np.repeat(x, 3 // x.shape[2], axis=2) for x in images]
    mask = None
    if pair.mask is not None:
        grey = np.where(read_image(pair.mask).max(axis=2, keepdims=True) > 127, 255, 0).astype(np.uint8)
        if grey.shape[:2] != shape and pair.modality is not None:
            grey = fit_image(grey, find_modality(pair.modality), shape)
        if grey.shape[:2] != shape:
            raise ValueError(
                f"{pair.mask}: is {grey.shape[0]} x {grey.shape[1]} pixels (height x width), and {pair.drawn} "
                f"{shape[0]} x {shape[1]}; give a mask of its size, or --modality, by which it is brought to it"
            )
        mask = torch.from_numpy(grey[..., 0] > 127)
    one, two = (torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1))) for x in images)
    return one, two, mask


def pixels(
    pairs: Sequence[Pair], drawn: Sequence[torch.Tensor], truth: Sequence[torch.Tensor], seed: int
) -> dict[str, Any]:
    """Noise, intensities and stain of the two folders as sets; a note where they cannot be had."""
    sizes = {tuple(each.shape) for each in (*drawn, *truth)}
    least = min(min(size[1:]) for size in sizes)
    if len(sizes) > 1 or least < image_sets.TILE or len(pairs) < 2 * MIN_IMAGES:
        return {
            "note": f"needs {2 * MIN_IMAGES} pairs of one size of at least {image_sets.TILE} pixels; there are "
            f"{len(pairs)} of {len(sizes)} sizes, the least of {least} pixels"
        }
    groups = [group_of(pair) for pair in pairs]
    windowed = sorted({g for g, p in zip(groups, pairs, strict=True) if p.hounsfield})
    return image_sets.measure(
        torch.stack(list(drawn)), groups, torch.stack(list(truth)), groups, windowed=windowed, seed=seed
    )


def group_of(pair: Pair) -> str:
    """What a pair is compared within: its modality, and of CT apart what has no Hounsfield units."""
    if pair.modality is None:
        return "pictures"
    unknown = find_modality(pair.modality).windows and not pair.hounsfield
    return f"{pair.modality}, greyscale" if unknown else pair.modality


def _worst(result: dict[str, Any], pairs: Sequence[Pair]) -> Section:
    """The pairs that are least alike, side by side."""
    order = sorted(range(len(pairs)), key=lambda i: float(result["pairs"][i]["SSIM"]))[:WORST]
    figures = []
    for i in order:
        row, pair = result["pairs"][i], pairs[i]
        note = f"SSIM {row['SSIM']:.3f}, PSNR {row['PSNR']:.1f} dB"
        figures += [
            Figure(image=image_uri(pair.drawn), caption=pair.name, alt=pair.modality or "picture", note=note),
            Figure(
                image=image_uri(pair.truth), caption=f"should be: {pair.truth.name}", alt="(picture to compare with)"
            ),
        ]
    text = (
        [] if "rows" in result["pixels"] else [f"Noise and intensities are not measured: {result['pixels']['note']}."]
    )
    return Section(title="Least alike", text=text, figures=figures)
