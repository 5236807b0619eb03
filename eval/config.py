"""What an evaluation is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from vesalius.data.command.fields import Settled


@dataclass(frozen=True, kw_only=True)
class EvalConfig(Settled):
    """Score a samples folder against real images: fidelity, obedience to the prompt, closeness to training images."""

    samples: tyro.conf.Positional[Path]
    """samples folder, as `vesalius generate` writes it"""
    real: Path
    """dataset folder of real (or phantom) images to compare with"""
    train: Path | None = None
    """dataset folder that the model was trained on, for the search for copies; none: --real's own training split"""
    out: Path
    """folder of the report"""
    split: Literal["train", "val", "test"] = "test"
    """split of --real that the samples are compared with"""
    shared_patients: Literal["refuse", "leave-out"] = "refuse"
    """what becomes of real images of patients who are among the training images: every distance to them is too small"""
    parts: tuple[str, ...] = ("fidelity", "obedience", "privacy", "gates")
    """what is measured, in the order of the page: fidelity, obedience, privacy, gates; and on request pixels (noise,
    intensities, stain), membership (does the denoiser tell what it was trained on; needs the base), usefulness
    (classifiers with and without the samples; some minutes)"""
    detector: tuple[str, ...] = ("judge", "witness")
    """networks whose features are compared, better two than one: judge, witness, texture, inception, a folder or hub id
    of a vision model of transformers (CLIP, SigLIP, DINOv2 ...), module:function or file.py:function"""
    cache: Path | None = None
    """folder where features are kept, by digest; none: below $VESALIUS_HOME"""
    gated_by: tuple[str, ...] = ()
    """networks that accepted these samples, and so measure nothing of their obedience: judge, witness, reader"""
    witness: Path | None = None
    """folder of another witness than the embedded one, as `python -m vesalius.finetune.judges.witness` writes it"""
    base: str | None = None
    """base that drew the samples, for membership; none: the one that they name"""
    adapter: tuple[str, ...] = ()
    """its adapters; none: those that the samples' recipe names"""
    seed: int = 0
    """seed of the resampling behind the intervals"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """check the folders, compute nothing"""
