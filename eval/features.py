"""Pictures of a set, looked at once, and their features: read a few at a time, kept on disk by digest."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vesalius.data.command.progress import Progress
from vesalius.data.hounsfield import CHUNK
from vesalius.data.images.image import MAX_PIXELS, Uint8, fit_image, load_square, read_image
from vesalius.data.modality import find_modality
from vesalius.eval.gates.scores import Case, JudgeReading
from vesalius.eval.obedience.readings import ReaderReading, WitnessReading
from vesalius.eval.privacy.copies import Original, Suspect
from vesalius.models.detectors.detector import Detector, TextureDetector, Window

TOGETHER = 256
"""Pictures of 128 pixels that are in memory at once; of larger ones fewer."""
LEAST = 32
"""Pictures of 128 pixels that a thread looks at together."""
FEW = 16
"""Pictures that a network of this package is shown at once: of more, what its layers make does not fit into a
processor's cache, and it takes up to twice as long."""
NETWORKS = (JudgeReading, WitnessReading, ReaderReading)
OWN = (*NETWORKS, Suspect, Original, TextureDetector)
"""Detectors that threads may ask at once. On a CPU two threads that take a half of the pictures each are quicker than
two that share each operator; a user's function need not bear it."""
HOUNSFIELD = " (HU)"
READING = 1
"""Goes up where `read_square` reads pictures otherwise than before: what was kept until then is not used."""

T = TypeVar("T")
R = TypeVar("R")


class Reading(Protocol):
    """A detector that must also know of what a picture is."""

    name: str
    digest: str
    image_size: int
    resize: str
    window: Window

    def of_cases(self, images: torch.Tensor, cases: Sequence[Case]) -> torch.Tensor: ...  # uint8 NCHW -> float32 NC


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Pictures that open, with the sha256 of each file. unreadable: why others do not, each naming its file.

    kept: places of those that open in the list that was looked at. sizes, modes: height x width and Pillow's mode of
    each, with `HOUNSFIELD` after it where the file holds Hounsfield units.
    """

    name: str
    cases: list[Case]
    digests: list[str]
    kept: list[int]
    unreadable: tuple[str, ...] = ()
    sizes: list[str]
    modes: list[str]

    def of(self, modality: str) -> list[int]:
        """Places of the pictures of a modality."""
        return [i for i, c in enumerate(self.cases) if c.modality == modality]

    @cached_property
    def families(self) -> list[str]:
        """The modality of each, and "CT, greyscale" of CT without Hounsfield units: a model sees windows of the others
        in colours, so that the two are as unlike as two modalities."""
        return [
            f"{c.modality}, greyscale"
            if find_modality(c.modality).windows and not mode.endswith(HOUNSFIELD)
            else c.modality
            for c, mode in zip(self.cases, self.modes, strict=True)
        ]

    def of_family(self, family: str) -> list[int]:
        return [i for i, name in enumerate(self.families) if name == family]

    def part(self, places: Sequence[int]) -> ImageSet:
        """Those of some places. What does not open is told by the whole."""
        return ImageSet(
            name=self.name, cases=[self.cases[i] for i in places], digests=[self.digests[i] for i in places],
            kept=[self.kept[i] for i in places], sizes=[self.sizes[i] for i in places],
            modes=[self.modes[i] for i in places],
        )  # fmt: skip


def open_images(name: str, cases: Sequence[Case], *, quiet: bool = False) -> ImageSet:
    """Look at each file once. What cannot be opened is left out and named, never replaced by something else."""
    kept: list[int] = []
    bad: list[str] = []
    seen: list[tuple[str, str, str]] = []
    with Progress(f"looking at {name}", len(cases), quiet=quiet) as bar:
        for i, found in enumerate(in_threads(_look, cases)):
            bar.step()
            if isinstance(found, str):
                bad.append(found)
                continue
            kept.append(i)
            seen.append(found)
    digests, sizes, modes = ([row[k] for row in seen] for k in range(3))
    return ImageSet(
        name=name, cases=[cases[i] for i in kept], digests=digests, kept=kept, unreadable=tuple(bad), sizes=sizes,
        modes=modes,
    )  # fmt: skip


def _look(case: Case) -> tuple[str, str, str] | str:
    """Digest, size and mode of an image file, or what is wrong with it."""
    try:
        content = case.path.read_bytes()
    except FileNotFoundError:
        return f"{case.path}: no such image file"
    size, mode, is_whole = "", "", False
    try:
        with Image.open(BytesIO(content)) as image:
            size = f"{image.height} x {image.width}"
            mode = image.mode + HOUNSFIELD * (CHUNK in image.info)
            if image.format == "PNG" and image.width * image.height <= MAX_PIXELS:
                image.verify()  # its own check sums, which is much quicker than to decode it
                is_whole = True
    except Exception:  # Pillow raises of all kinds; `read_image` says what is wrong
        is_whole = False
    if not is_whole:
        try:
            read_image(case.path, content)
        except ValueError as error:
            return str(error)
    return hashlib.sha256(content).hexdigest(), size, mode


def read_square(case: Case, size: int, window: Window) -> Uint8:
    """A picture as a detector is given it: uint8 [3, size, size], Lanczos, cropped or padded as its modality says."""
    modality = find_modality(case.modality)
    if window == "model":
        return load_square(case.path, modality, size).transpose(2, 0, 1)
    image = fit_image(read_image(case.path), modality, (size, size))
    return np.repeat(image, 3 // image.shape[2], axis=2).transpose(2, 0, 1)


def read_chunks(
    cases: Sequence[Case], size: int, window: Window, *, chunk: int | None = None
) -> Iterator[torch.Tensor]:
    """The pictures of the cases in turn, uint8 [n, 3, size, size] each. ValueError names one that does not open."""
    chunk = chunk or max(1, TOGETHER * 128**2 // size**2)
    for start in range(0, len(cases), chunk):
        part = cases[start : start + chunk]
        yield _stack(in_threads(lambda c: read_square(c, size, window), part), len(part), size)


def _stack(pictures: Iterable[Uint8], num: int, size: int) -> torch.Tensor:
    images = np.empty((num, 3, size, size), dtype=np.uint8)
    for i, image in enumerate(pictures):
        images[i] = image
    return torch.from_numpy(images)


def in_threads(function: Callable[[T], R], members: Sequence[T]) -> Iterator[R]:
    """What a function gives for each, in order: decoding and hashing let other threads run."""
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        yield from pool.map(function, members)


def side_by_side(function: Callable[[T], R], parts: Sequence[T]) -> Iterator[R]:
    """What a function makes of each part, in order: as many at once as torch has threads, by one each."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield from map(function, parts)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(function, parts)
    finally:
        torch.set_num_threads(threads)


def features_of(
    detectors: Sequence[Detector | Reading],
    images: ImageSet,
    folder: Path | None,
    *,
    half: bool = False,
    quiet: bool = False,
) -> list[torch.Tensor]:
    """Features of a set by each detector, float32 [N, C]. half: the networks of this package compute in bfloat16.

    Each is kept in a file of the folder, named by the digest of the pictures and of all that made it, and mapped into
    memory from there. Pictures are read once for detectors that take the same. ValueError names the detector and the
    first picture where a feature is no number.
    """
    found: dict[int, torch.Tensor] = {}
    for i, detector in enumerate(detectors):
        path = _place(folder, detector, images, half)
        if path is not None and path.is_file() and (kept := _open(path, len(images.cases))) is not None:
            found[i] = kept
    lacking = [i for i in range(len(detectors)) if i not in found]
    for size, window in dict.fromkeys((detectors[i].image_size, detectors[i].window) for i in lacking):
        mine = [i for i in lacking if (detectors[i].image_size, detectors[i].window) == (size, window)]
        made = {i: _Rows(_place(folder, detectors[i], images, half), len(images.cases)) for i in mine}
        with Progress(f"features of {images.name}", len(images.cases), quiet=quiet) as bar:
            for rows in _looked_at([detectors[i] for i in mine], images.cases, size, window, half):
                for i, each in zip(mine, rows, strict=True):
                    made[i].add(each)
                bar.step(len(rows[0]))
        found |= {i: rows.whole() for i, rows in made.items()}
    return [found[i] for i in range(len(detectors))]


def _looked_at(
    detectors: Sequence[Detector | Reading], cases: Sequence[Case], size: int, window: Window, half: bool
) -> Iterator[list[torch.Tensor]]:
    """The rows of each detector of some pictures after another: read and looked at by one thread, and then dropped."""
    workers = torch.get_num_threads() if all(isinstance(d, OWN) for d in detectors) else 1
    chunk = max(1, max(LEAST, TOGETHER // workers) * 128**2 // size**2)

    def look(part: Sequence[Case]) -> list[torch.Tensor]:
        if workers > 1:
            pictures = _stack((read_square(c, size, window) for c in part), len(part), size)
        else:
            (pictures,) = read_chunks(part, size, window, chunk=len(part))
        rows = []
        for detector in detectors:
            with torch.autocast("cpu", torch.bfloat16, enabled=half and isinstance(detector, NETWORKS)):
                rows.append(_few_at_a_time(detector, pictures, part))
            check_features(rows[-1], detector.name, part)
        return rows

    parts = [cases[start : start + chunk] for start in range(0, len(cases), chunk)]
    yield from map(look, parts) if workers == 1 else side_by_side(look, parts)


def _few_at_a_time(detector: Detector | Reading, pictures: torch.Tensor, cases: Sequence[Case]) -> torch.Tensor:
    """Rows of some pictures; those of this package's networks from a few at once."""
    step = FEW if isinstance(detector, NETWORKS) else len(cases)
    parts = [slice(start, start + step) for start in range(0, len(cases), step)]
    if callable(detector):
        return torch.cat([detector(pictures[p]).float() for p in parts])
    return torch.cat([detector.of_cases(pictures[p], cases[p]).float() for p in parts])


def check_features(features: torch.Tensor, name: str, cases: Sequence[Case]) -> None:
    """ValueError where a feature is NaN or infinite."""
    bad = (~torch.isfinite(features).all(1)).nonzero()[:, 0].tolist()
    if bad:
        raise ValueError(
            f"detector '{name}': NaN or infinite features of {len(bad)} of {len(features)} pictures, the first of them "
            f"{cases[bad[0]].path}; mend the detector, or name another"
        )


def feature_folder() -> Path:
    """Where features are kept: below $VESALIUS_HOME."""
    return Path(os.environ.get("VESALIUS_HOME", Path.home() / ".cache" / "vesalius")) / "features"


def _place(folder: Path | None, detector: Detector | Reading, images: ImageSet, half: bool) -> Path | None:
    if folder is None or not detector.digest:
        return None
    made = [READING, detector.name, detector.digest, detector.image_size, detector.window, detector.resize]
    made += ["bfloat16"] if half and isinstance(detector, NETWORKS) else []
    members = [(digest, case.modality) for digest, case in zip(images.digests, images.cases, strict=True)]
    return folder / f"{hashlib.sha256(json.dumps([made, members]).encode()).hexdigest()[:32]}.npy"


def _open(path: Path, num: int) -> torch.Tensor | None:
    """Features that were kept; None where the file is damaged, which then is made anew."""
    try:
        # Copy on write: torch wants memory that it may write to, and the file stays as it is.
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(array) if array.dtype == np.float32 and array.ndim == 2 and len(array) == num else None


class _Rows:
    """A table that grows by rows: in a file, renamed when it is whole, or in memory where there is to be none, as where
    the disk is full."""

    def __init__(self, path: Path | None, num: int) -> None:
        self.path, self.num, self.done = path, num, 0
        self.table: NDArray[np.float32] | None = None
        self.temporary = None if path is None else path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def add(self, rows: torch.Tensor) -> None:
        if self.table is None:
            self.table = self._open((self.num, rows.shape[1]))
        if rows.shape[1] != self.table.shape[1]:
            raise ValueError(f"a detector made {self.table.shape[1]} features, then {rows.shape[1]}; mend the detector")
        self.table[self.done : self.done + len(rows)] = rows.numpy()
        self.done += len(rows)

    def _open(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        if self.temporary is not None:
            try:
                self.temporary.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # they tell of the pictures
                if shutil.disk_usage(self.temporary.parent).free > 2 * 4 * shape[0] * shape[1]:
                    mapped: NDArray[np.float32] = np.lib.format.open_memmap(
                        self.temporary, mode="w+", dtype=np.float32, shape=shape
                    )
                    return mapped
            except OSError:  # it may not be written to: nothing is lost but time
                pass
        self.path = None
        return np.empty(shape, dtype=np.float32)

    def whole(self) -> torch.Tensor:
        if self.table is None:
            return torch.empty(0, 1)
        if self.path is None or self.temporary is None:
            return torch.from_numpy(self.table)
        self.table.flush()  # type: ignore[attr-defined]
        del self.table
        os.replace(self.temporary, self.path)
        kept = _open(self.path, self.num)
        assert kept is not None
        return kept
