"""What a generation run is: one frozen dataclass, from which the command line is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vesalius.inference.drawing.config import DrawConfig

GUIDANCE = 3.0
"""How strictly a prompt is followed where neither the user nor the adapter says otherwise."""


@dataclass(frozen=True, kw_only=True)
class GenerateConfig(DrawConfig):
    """Draw images from prompts. The same line continues a run that was stopped."""

    prompt: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """one or more prompts; each names its modality (CT, MRI, H&E, X-ray ...) unless --modality does"""
    prompts: Path | None = None
    """prompts: text, one a line; .jsonl, .csv, .tsv or .parquet with `text`, `modality`, and for rows with pictures of
    their own `image`, `mask`, `strength`; or a dataset, for its captions"""
    split: Literal["train", "val", "test"] = "train"
    """split whose captions are the prompts, where --prompts is a dataset"""
    start: Literal["noise", "image", "mask"] = "noise"
    """where --prompts is a dataset: from noise, each record's image, or that with only what its mask shows drawn"""
    grid: tuple[str, ...] = ()
    """prompts by combination: modality=CT,MRI finding=nodule,mass side=left,right size=20 count=2 language=en,zh"""
    vary: tuple[str, ...] = ()
    """what alone changes while the seed stays, for each combination of --grid: finding=none,nodule or size=12,20,30"""
    num: int = 1
    """pictures per prompt"""
    seed: int = 0
    """seed of the run; every picture gets its own from it"""
    out: Path
    """samples folder"""
    modality: str | None = None
    """modality of all prompts"""
    steps: int | None = None
    """denoising steps; none: what the adapter was made for, else what suits the base's scheduler (12 or 20)"""
    guidance: float | None = None
    """classifier-free guidance scale, 1 is without; none: what the adapter was made for, else 3"""
    negative: str = ""
    """what the picture should not show"""
    image: Path | None = None
    """picture to start from in place of noise: a PNG, for CT with Hounsfield units one of 16 bits"""
    mask: Path | None = None
    """image of the size of --image, white where it is drawn anew; all else stays as it is"""
    strength: float | None = None
    """how far --image goes back into noise, above 0 up to 1: that share of the steps is drawn; none: 0.6, or 1 with
    --mask"""
    size: tuple[int, int] | None = None
    """height and width in pixels, in steps of the base's coarsest cell; none: the square that the base was made for"""
    sink: Literal["png", "dicom", "imagefolder", "parquet", "webdataset"] = "png"
    """how samples are written: files of PNG or DICOM, or a dataset (folder or shards) that `finetune --data` takes"""
    shard_size: int = 1000
    """pictures of one shard: the unit of work, and a file of --sink parquet and webdataset; other sinks have fewer in a
    short run"""
    engine: Literal["local", "accelerate", "ray"] = "local"
    """who draws the shards: this machine, the processes of `accelerate launch`, or a Ray cluster (extra `ray`)"""
    workers: int = 0
    """processes of --engine local or ray; 0: one on each GPU, or one where there is none"""
    c2pa_cert: Path | None = None
    """certificates (PEM, the signer's first) by which PNGs are signed as Content Credentials (C2PA); none: unsigned"""
    c2pa_key: Path | None = None
    """its private key (PEM)"""
    c2pa_timestamp: str | None = None
    """URL of a timestamp authority, asked once a picture; none: signed without network and without a timestamp"""
    reuse: int = 1
    """every how many steps the denoiser's deep levels run; 2 is up to twice as fast, for other pictures: by how much is
    printed. 1: at every step"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """check everything, draw nothing"""
