"""What a task file for rented GPUs is made of."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from vesalius.data.command.fields import Settled

# Name -> the names that SkyPilot's catalog and dstack's (gpuhunt's) give it. Left out are those that the CUDA builds
# of torch no longer run on, such as V100, and those that clouds call differently, such as A6000.
GPUS = {
    "A10": ("A10", "A10"),
    "A10G": ("A10G", "A10G"),
    "A40": ("A40", "A40"),
    "A100": ("A100", "A100:40GB"),
    "A100-80GB": ("A100-80GB", "A100:80GB"),
    "B200": ("B200", "B200"),
    "H100": ("H100", "H100"),
    "H200": ("H200", "H200"),
    "L4": ("L4", "L4"),
    "L40": ("L40", "L40"),
    "L40S": ("L40S", "L40S"),
    "RTX3090": ("RTX3090", "RTX3090"),
    "RTX4090": ("RTX4090", "RTX4090"),
    "RTX5090": ("RTX5090", "RTX5090"),
    "T4": ("T4", "T4"),
}
STORES = ("s3://", "gs://")


@dataclass(frozen=True, kw_only=True)
class CloudConfig(Settled):
    """Write a task file with which SkyPilot or dstack runs a fine-tuning recipe on rented GPUs. Nothing is rented."""

    recipe: tyro.conf.Positional[Path]
    """TOML file of `vesalius finetune`"""
    to: Literal["skypilot", "dstack"]
    """which of them is to read the file"""
    out: Path
    """the task file to write, YAML"""
    data: tuple[str, ...] = ()
    """dataset folders, s3:// and gs:// URLs among them; none: those of the recipe"""
    gpu: str = "A100:1"
    """kind and number on one machine"""
    spot: bool = True
    """spot instances, which are cheaper and may be taken away: the run then goes on elsewhere"""
    max_price: float | None = None
    """most US dollars per hour and machine"""
    bucket: str | None = None
    """s3:// or gs:// URL where SkyPilot keeps the run folder"""
    volume: str | None = None
    """volume where dstack keeps the run folder; none: vesalius-runs"""
    package: str = "."
    """what pip installs: the folder of a checkout, or the URL of a wheel or repository"""
    json: bool = False
    """print one JSON object"""
    dry_run: bool = False
    """print the file and write nothing"""

    def check(self) -> None:
        """ValueError where the choices do not fit together. Nothing is read but the package's folder."""
        self.gpus()
        if self.max_price is not None and not 0 < self.max_price < math.inf:
            raise ValueError(f"--max-price is {self.max_price}; expected US dollars per hour above 0")
        if self.bucket is not None and not is_url(self.bucket):
            raise ValueError(
                f"--bucket is '{self.bucket}'; expected s3://BUCKET or gs://BUCKET, with a folder or without"
            )
        if self.to == "skypilot" and self.bucket is None:
            raise ValueError(
                "--bucket is missing: a rented machine's disk goes with it; give s3://BUCKET or gs://BUCKET"
            )
        if self.to == "skypilot" and self.volume is not None:
            raise ValueError("--volume is for --to dstack; SkyPilot keeps the run folder in the --bucket")
        if self.to == "dstack" and self.bucket is not None:
            raise ValueError("--bucket is for --to skypilot: dstack mounts no buckets; give --volume NAME instead")
        here = self.package.startswith((".", "/")) or Path(self.package).exists()
        if here and not (Path(self.package) / "pyproject.toml").is_file():
            raise ValueError(
                f"--package {self.package}: holds no pyproject.toml; give the folder of a checkout, or a URL"
            )

    def gpus(self) -> tuple[str, int]:
        """The kind and the number of GPUs that `--gpu` says. ValueError names the nearest known kind."""
        name, _, number = self.gpu.partition(":")
        if name.upper() not in GPUS:
            near = difflib.get_close_matches(name.upper(), GPUS, n=1, cutoff=0.4)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ValueError(f"--gpu: '{name}' is not known{hint} ({', '.join(GPUS)})")
        if number and not (number.isdecimal() and 1 <= int(number) <= 16):
            raise ValueError(f"--gpu {self.gpu}: expected a number of GPUs on one machine, 1 to 16, after the colon")
        return name.upper(), int(number or 1)


def is_url(place: str) -> bool:
    """Whether a place is in a bucket, and names one."""
    return place.startswith(STORES) and bool(place.partition("://")[2].strip("/"))
