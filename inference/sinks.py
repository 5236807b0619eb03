"""Where samples go. A sink writes one picture whole and returns the sample with its digests."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from vesalius.data.hounsfield import hu_png
from vesalius.data.image import Picture, png_bytes
from vesalius.data.record import write_atomic
from vesalius.inference.sample import Sample


def write_sample(folder: Path, sample: Sample, picture: Picture) -> Sample:
    """Write a PNG with the sample's recipe inside, and the Hounsfield units of CT; each whole or not at all."""
    if picture.hu is not None:
        raw16, content = f"raw16/{Path(sample.file_name).name}", hu_png(picture.hu)
        (folder / "raw16").mkdir(exist_ok=True)
        write_atomic(folder / raw16, content)
        sample = dataclasses.replace(sample, raw16=raw16, raw16_sha256=hashlib.sha256(content).hexdigest())
    content = png_bytes(picture.image, sample.recipe())
    write_atomic(folder / sample.file_name, content)
    return dataclasses.replace(sample, sha256=hashlib.sha256(content).hexdigest())
