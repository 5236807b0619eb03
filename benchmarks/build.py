"""DICOM files per second of a build, beside a plain pydicom and Pillow loop and beside decoding alone; and its memory.

    python -m benchmarks.build speed [--files 1500] [--workers 0]
    python -m benchmarks.build memory [--counts 1000 20000 200000]

`speed`: CT-like files (512 x 512, 16 bits; none, half and all of them in JPEG 2000) under new names, each side over the
same files in turn, medians of the repeats. The plain loop reads a file, applies its Modality LUT and window, and saves
a PNG of 8 bits with Pillow; with 16 bits it saves what the build does, Hounsfield units. Decoding alone reads the file
and its pixels and does nothing with them. The build also finds bad rows first, hashes, splits by patient and writes a
dataset that survives a kill; its start-up is counted. Beside the rates stand the processor's seconds of each side, its
processes added up, which other work on the machine changes less.

`memory`: the most that build, check, filter, merge, sample and export hold over small generated images (16 x 16), each
verb in a process of its own, its workers counted one by one.
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from PIL import Image


@dataclass(frozen=True, kw_only=True)
class Speed:
    """A build beside a plain loop and decoding alone."""

    files: int = 1500
    """DICOM files"""
    workers: int = 0
    """processes of the build and of decoding alone; 0: one for each core; the plain loop has one"""
    repeats: int = 3
    """runs of each side; medians are printed"""
    compressed: tuple[float, ...] = (0.0, 0.5, 1.0)
    """shares of the files in JPEG 2000, each measured by itself"""
    size: int = 512
    """pixels on each edge"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The most memory that each verb holds, by number of records."""

    counts: tuple[int, ...] = (1000, 20_000)
    """numbers of records; 200000 takes about a quarter of an hour"""
    json: bool = False
    """print one JSON object"""


FEW = 100
"""Files that the loop of 16 bits goes over, for each of which Pillow takes a tenth of a second."""


def write_ct(folder: Path, num: int, size: int, compressed: float) -> list[Path]:
    """CT-like DICOM files: a noisy ellipse in HU, 12 bits stored in 16, two slices a patient."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

    folder.mkdir(parents=True)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    paths, scenes = [], []
    rng = np.random.default_rng(0)
    for scene in range(8):  # encoding JPEG 2000 takes long, so scenes repeat under other names
        body = (x / 0.9) ** 2 + (y / (0.6 + scene / 50)) ** 2 < 1
        lung = ((np.abs(x) - 0.4) / 0.25) ** 2 + (y / 0.4) ** 2 < 1
        hu = np.where(body, np.where(lung, -850, 40), -1000) + rng.normal(0, 15, (size, size))
        scenes.append(np.clip(np.rint(hu) + 1024, 0, 4095).astype(np.uint16))
    for number in range(num):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
        ds.Modality, ds.BodyPartExamined, ds.PatientID = "CT", "CHEST", f"P{number // 2:05d}"
        ds.ImageOrientationPatient, ds.PixelSpacing, ds.SliceThickness = [1, 0, 0, 0, 1, 0], [0.7, 0.7], 5
        ds.Rows = ds.Columns = size
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.RescaleIntercept, ds.RescaleSlope, ds.WindowCenter, ds.WindowWidth = -1024, 1, 40, 400
        pixels = np.roll(scenes[number % len(scenes)], number, axis=1)
        ds.PixelData = pixels.tobytes()
        if int((number + 1) * compressed) > int(number * compressed):
            ds.compress(JPEG2000Lossless, scenes[number % len(scenes)], generate_instance_uid=False)
        paths.append(folder / f"{number:06d}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


def plain(paths: list[Path], out: Path, *, deep: bool = False) -> None:
    """What scripts do: one process, one file after another, Pillow's PNG. deep: of HU + 1024 in 16 bits."""
    import pydicom
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    out.mkdir()
    for path in paths:
        ds = pydicom.dcmread(path)
        hu = apply_modality_lut(ds.pixel_array, ds)
        if deep:
            Image.fromarray((np.clip(hu, -1024, 3071) + 1024).astype(np.uint16)).save(out / f"{path.stem}.png")
            continue
        values = apply_voi_lut(hu, ds).astype(np.float64)
        low, high = values.min(), values.max()
        grey = ((values - low) / max(high - low, 1e-6) * 255).astype(np.uint8)
        Image.fromarray(grey).save(out / f"{path.stem}.png")


def decode(path: Path) -> None:
    import pydicom

    _ = pydicom.dcmread(path).pixel_array


def decode_all(paths: list[Path], workers: int) -> None:
    if workers == 1:
        for path in paths:
            decode(path)
        return
    with get_context("fork").Pool(workers) as pool:
        pool.map(decode, paths, chunksize=8)


def processor_s() -> float:
    """Seconds of the processor that this process and its former children have used."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def speed(config: Speed, compressed: float) -> dict[str, Any]:
    from vesalius.data.building.config import BuildConfig
    from vesalius.data.building.run import build_dataset
    from vesalius.data.command.workers import num_workers

    workers = num_workers(config.workers, 1_000_000)
    times: dict[str, list[float]] = {}
    used: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder), Path(folder) / "out"
        paths = write_ct(root / "dicom", config.files, config.size, compressed)
        plain(paths[:2], root / "warm")
        sides: dict[str, Callable[[], object]] = {
            "plain": lambda: plain(paths, out),
            "plain, 16 bits": lambda: plain(paths[:FEW], out, deep=True),
            "decode": lambda: decode_all(paths, workers),
            "vesalius": lambda: build_dataset(
                BuildConfig(sources=(root / "dicom",), out=out, workers=workers, json=True)
            ),
        }
        sizes: dict[str, float] = {}
        for _ in range(config.repeats):
            for side, run in sides.items():
                began, before = time.perf_counter(), processor_s()
                run()
                seen = len(paths[:FEW]) if side == "plain, 16 bits" else len(paths)
                times.setdefault(side, []).append((time.perf_counter() - began) / seen)
                used.setdefault(side, []).append((processor_s() - before) / seen)
                sizes[side] = statistics.mean([path.stat().st_size for path in out.rglob("*.png")] or [0])
                shutil.rmtree(out, ignore_errors=True)
    rates = {side: 1 / statistics.median(seconds) for side, seconds in times.items()}
    return {
        "files": config.files, "compressed": compressed, "workers": workers, "files_per_second": rates,
        "processor_ms_per_file": {side: 1000 * statistics.median(s) for side, s in used.items()},
        "png_bytes": {side: size for side, size in sizes.items() if size},
        "times_the_plain_loop": rates["vesalius"] / rates["plain"],
        "times_the_plain_loop_of_16_bits": rates["vesalius"] / rates["plain, 16 bits"],
        "share_of_decoding_alone": rates["vesalius"] / rates["decode"],
    }  # fmt: skip


STEP = """
import resource, sys, time
from pathlib import Path
from vesalius.cli.main import main
began = time.perf_counter()
code = main(sys.argv[1:])
told = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print("peak", code, *told, time.perf_counter() - began, file=sys.stderr)
"""


def memory(config: Memory) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for count in config.counts:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write_table(root / "source", count)
            drawn = ("--num", str(count // 2), "--balance", "label")
            steps = {
                "build": ["data", "build", str(root / "source"), "--out", str(root / "out")],
                "check": ["data", "check", str(root / "out"), "--base", "None"],
                "filter": ["data", "filter", str(root / "out"), "--label", "a", "--out", str(root / "part")],
                "merge": ["data", "merge", str(root / "out"), str(root / "part"), "--out", str(root / "both")],
                "sample": ["data", "sample", str(root / "out"), *drawn, "--out", str(root / "sample")],
                "export": ["data", "export", str(root / "out"), "--out", str(root / "shards")],
                "check shards": ["data", "check", str(root / "shards"), "--base", "None"],
            }
            result[str(count)] = {}
            for name, words in steps.items():
                result[str(count)][name] = told = step(words)
                print(f"{count} {name}: {told}", file=sys.stderr, flush=True)
    return result


def step(words: list[str]) -> dict[str, float]:
    """Peak memory in MB of one verb, and of the largest of its workers; seconds."""
    process = subprocess.run(
        [sys.executable, "-c", STEP, *words, "--json"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    told = next((line.split() for line in process.stderr.splitlines() if line.startswith("peak")), None)
    if told is None or told[1] not in ("0", "3"):
        raise RuntimeError(process.stderr[-2000:])
    return {"mb": round(float(told[2])), "worker_mb": round(float(told[3])), "seconds": round(float(told[4]), 1)}


def write_table(folder: Path, count: int) -> None:
    """Different images of one pattern and another noise, five of a patient."""
    (folder / "images").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for number in range(count):
        pixels = noise.integers(0, 255, (16, 16)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png", compress_level=1)
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as file:
        for number in range(count):
            text = f"Chest CT of case {number}. Findings: no pleural effusion. A nodule of {number % 30 + 1} mm."
            row = {
                "file_name": f"images/{number}.png", "text": text, "modality": "CT", "organ": "chest",
                "patient_id": f"patient-{number // 5}", "label": "ab"[number % 2],
            }  # fmt: skip
            file.write(json.dumps(row) + "\n")


def tell_speed(config: Speed) -> None:
    results = []
    for compressed in config.compressed:
        results.append(result := speed(config, compressed))
        if config.json:
            continue
        print(f"{100 * compressed:.0f} % in JPEG 2000, {result['workers']} workers:")
        for side, rate in result["files_per_second"].items():
            spent, size = result["processor_ms_per_file"][side], result["png_bytes"].get(side, 0)
            print(f"{side:>14}: {rate:7.1f} files/s, {spent:5.2f} ms of processor a file, {size / 1000:.0f} kB a PNG")
        print(
            f"{result['times_the_plain_loop']:.2f} times the plain loop, "
            f"{result['times_the_plain_loop_of_16_bits']:.2f} times that of 16 bits, "
            f"{100 * result['share_of_decoding_alone']:.0f} % of decoding alone",
            flush=True,
        )
    if config.json:
        print(json.dumps(results))


def tell_memory(config: Memory) -> None:
    result = memory(config)
    if config.json:
        print(json.dumps(result))
        return
    for count, steps in result.items():
        for name, told in steps.items():
            print(f"{int(count):>9,} {name:<12} {told['mb']:>6} MB, {told['worker_mb']} MB {told['seconds']:>8} s")


if __name__ == "__main__":
    verbs = {"speed": (Speed, tell_speed), "memory": (Memory, tell_memory)}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit("usage: python -m benchmarks.build {speed,memory} [options]")
    kind, tell = verbs[sys.argv[1]]
    tell(tyro.cli(kind, args=sys.argv[2:], prog=f"python -m benchmarks.build {sys.argv[1]}"))  # type: ignore[operator]
