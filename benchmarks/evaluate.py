"""What an evaluation costs in time and memory: fidelity, obedience and privacy of N samples against N real images, and
KID beside torchmetrics'.

    python -m benchmarks.evaluate [--num 300] [--detector judge witness] [--json]

Phantoms stand for the samples, the real and the training images, N of each: their files cost what others of 128 pixels
cost. Each part is timed on its own; what networks make of a picture is kept, so that the part that first asks pays for
all. Drawing the phantoms is not counted. The bar is five minutes for 10,000 against 10,000 on two cores. Peak memory is
that of the whole process before torchmetrics runs, beside what it held when the libraries were there and no picture.

torchmetrics estimates KID over random subsets (100 of 1000), where `vesalius.eval.fidelity.metrics` takes all pairs of
images: both are given the same features of one modality, cut to equal numbers, as torchmetrics asks.
"""

from __future__ import annotations

import hashlib
import json
import resource
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from vesalius.data.images.image import png_bytes, read_image
from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records
from vesalius.eval.config import EvalConfig
from vesalius.eval.context import Context, open_context, open_folders
from vesalius.eval.fidelity.metrics import kernel_distance_with_interval
from vesalius.eval.run import PARTS
from vesalius.inference.sample import Sample, sample_lines

BAR = 300
"""Seconds for 10,000 against 10,000 on two cores."""
MEASURED = ("fidelity", "obedience", "privacy")
"""Parts that the bar is on."""


@dataclass(frozen=True, kw_only=True)
class EvaluateBenchmark:
    """Seconds of each part of an evaluation."""

    num: int = 300
    """samples, and about as many real and as many training images"""
    detector: tuple[str, ...] = ("judge", "witness")
    """networks whose features are compared"""
    folder: Path | None = None
    """where the phantoms are drawn, and stay; none: a temporary folder"""
    json: bool = False
    """print one JSON object"""


def main(config: EvaluateBenchmark) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        root = config.folder or Path(temporary)
        samples, real = draw_sets(root, config.num)
        evaluation = EvalConfig(
            samples=samples, real=real, out=root / "report", cache=Path(temporary) / "features",
            detector=config.detector, parts=MEASURED, json=True,
        )  # fmt: skip
        seconds: dict[str, float] = {}
        before, used, start = peak_memory(), time.process_time(), time.perf_counter()
        folders = open_folders(evaluation, PARTS, needs_train=True)
        context = open_context(evaluation, folders)
        seconds["opening"] = time.perf_counter() - start
        for name in evaluation.parts:
            start = time.perf_counter()
            result = PARTS[name].measure(context)
            PARTS[name].sections(result, context)
            seconds[name] = time.perf_counter() - start
        peak, used = peak_memory(), time.process_time() - used
        rows = [kid_row(context, m) for m in context.modalities if min(map(len, places(context, m))) >= 20]
    found: dict[str, Any] = {
        "num": len(context.samples.cases), "num_real": len(context.real.cases), "num_train": len(context.train.cases),
        "threads": torch.get_num_threads(), "detectors": config.detector,
        "seconds": {k: round(v, 2) for k, v in seconds.items()}, "total": round(sum(seconds.values()), 1),
        "cpu_seconds": round(used, 1), "peak_memory_mb": round(peak), "memory_before_mb": round(before),
        "bfloat16": context.half, "kid": rows,
    }  # fmt: skip
    if config.json:
        print(json.dumps(found))
        return found
    print(
        f"{found['num']} samples against {found['num_real']} real and {found['num_train']} training images, "
        f"{found['threads']} threads"
    )
    for name, value in seconds.items():
        print(f"  {name:<12}{value:8.1f} s")
    bar = f"bar for 10,000 on 2 cores: {BAR} s"
    print(f"  {'total':<12}{found['total']:8.1f} s ({bar}), {found['cpu_seconds']} s of cores")
    print(
        f"  {'peak memory':<12}{found['peak_memory_mb']:8} MB, {found['memory_before_mb']} MB before the first picture"
    )
    for row in rows:
        print(
            f"KID of {row['modality']}, {row['num']} against {row['num']} of {row['num_features']} features: "
            f"{row['ours']['value']:.4f} ({row['ours']['low']:.4f} to {row['ours']['high']:.4f}) in "
            f"{row['seconds']:.2f} s; torchmetrics {row['torchmetrics']:.4f} +- {row['deviation']:.4f} in "
            f"{row['seconds_torchmetrics']:.2f} s, {row['subsets']} subsets of {row['subset_size']}"
        )
    return found


def draw_sets(root: Path, num: int) -> tuple[Path, Path]:
    """A samples folder of phantoms, and a dataset of others, half of it the test split."""
    real, others, samples = root / "real", root / "others", root / "samples"
    write_phantoms(PhantomConfig(num=2 * num, seed=1, val=0, test=0.5, out=real, json=True))
    write_phantoms(PhantomConfig(num=num, seed=10**6, val=0, test=0, hounsfield=False, out=others, json=True))
    (samples / "images").mkdir(parents=True, exist_ok=True)
    drawn = []
    for i, record in enumerate(load_records(others)):
        content = png_bytes(read_image(others / record.file_name))
        name = f"images/{i:06}.png"
        (samples / name).write_bytes(content)
        drawn.append(
            Sample(
                file_name=name, text=record.caption or record.text, modality=record.modality, seed=i, steps=1,
                guidance=1.0, findings=record.findings, sha256=hashlib.sha256(content).hexdigest(),
            )
        )  # fmt: skip
    (samples / "metadata.jsonl").write_bytes(sample_lines(drawn))
    return samples, real


def peak_memory() -> float:
    """Most memory that this process has held so far, in MB, its mapped files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def places(context: Context, modality: str) -> tuple[list[int], list[int]]:
    return context.samples.of(modality), context.real.of(modality)


def kid_row(context: Context, modality: str) -> dict[str, Any]:
    """KID of a modality by the last detector, and torchmetrics' of the same features."""
    from torchmetrics.image.kid import KernelInceptionDistance

    detector = context.detectors[-1]
    ours, theirs = places(context, modality)
    num = min(len(ours), len(theirs))
    a, b = context.features("samples", detector)[ours[:num]], context.features("real", detector)[theirs[:num]]
    start = time.perf_counter()
    found = kernel_distance_with_interval(a, b)
    seconds = time.perf_counter() - start
    torch.manual_seed(0)
    size = min(1000, num // 2)
    metric = KernelInceptionDistance(feature=torch.nn.Identity(), subsets=100, subset_size=size)
    start = time.perf_counter()
    metric.update(b.double(), real=True)
    metric.update(a.double(), real=False)
    mean, deviation = metric.compute()
    return {
        "modality": modality, "num": num, "num_features": a.shape[1], "ours": asdict(found), "seconds": seconds,
        "torchmetrics": float(mean), "deviation": float(deviation), "subsets": 100, "subset_size": size,
        "seconds_torchmetrics": time.perf_counter() - start,
    }  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(EvaluateBenchmark))
