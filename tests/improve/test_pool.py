from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from vesalius.data.check import CheckConfig, check
from vesalius.data.image import Picture, read_hu
from vesalius.data.record import load_records
from vesalius.improve.pool import write_accepted
from vesalius.inference.sample import Sample
from vesalius.inference.sinks import write_sample


def test_accepted_ct_is_added_back_in_hounsfield_units(tmp_path: Path) -> None:
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    drawn = Sample(file_name="images/0.png", text="Chest CT", modality="CT", seed=0, steps=1, guidance=1.0)
    (tmp_path / "samples" / "images").mkdir(parents=True)
    samples = [
        write_sample(tmp_path / "samples", dataclasses.replace(drawn, file_name=f"images/{i}.png", text=text), picture)
        for i, (text, picture) in enumerate(
            [("Chest CT", Picture(image=ramp, hu=ramp[..., 0].astype(np.float32))), ("CT", Picture(image=ramp))]
        )
    ]
    write_accepted(tmp_path / "accepted", tmp_path / "samples", samples)
    known, unknown = load_records(tmp_path / "accepted")
    assert (known.hounsfield, unknown.hounsfield) == (True, False)
    assert read_hu(tmp_path / "accepted" / known.file_name).max() == 63
    assert known.sha256 == samples[0].raw16_sha256
    assert unknown.sha256 == samples[1].sha256
    assert check(CheckConfig(folder=tmp_path / "accepted")).problems == ()
