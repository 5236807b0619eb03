"""Where samples go. A sink writes one image whole and returns the sample with its digest."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from vesalius.data.image import Uint8, png_bytes
from vesalius.data.record import write_atomic
from vesalius.inference.sample import Sample


def write_sample(folder: Path, sample: Sample, image: Uint8) -> Sample:
    """Write a PNG with the sample's recipe inside, whole or not at all."""
    content = png_bytes(image, {k: v for k, v in sample.to_json().items() if k != "sha256"})
    write_atomic(folder / sample.file_name, content)
    return dataclasses.replace(sample, sha256=hashlib.sha256(content).hexdigest())
