from __future__ import annotations

import json
from pathlib import Path

import pytest

from vesalius.improve.candidates.drawing import artist
from vesalius.improve.config import ImproveConfig


def write_round(out: Path, index: int, depth: int) -> Path:
    folder = out / f"round-{index:02d}"
    adapter = folder / "run" / "adapter"
    adapter.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (adapter / name).write_text("{}")
    card = {"base": "nano", "base_digest": "0", "data_digest": "0", "depth": depth, "steps": 1, "modalities": []}
    (adapter / "adapter.json").write_text(json.dumps(card))
    return folder


@pytest.mark.parametrize(
    ("beside", "champion", "drawer"),
    [
        ((), 2, 2), ((), 3, 2), (("nano-fast",), 0, 0), (("nano-fast",), 1, 1), (("nano-fast",), 2, 2),
        (("nano-fast",), 3, 2),
    ],
)  # fmt: skip
def test_the_last_round_whose_samples_are_not_too_deep_draws(
    tmp_path: Path, beside: tuple[str, ...], champion: int, drawer: int
) -> None:
    rounds = [write_round(tmp_path, i, depth=i) for i in range(4)]
    config = ImproveConfig(data=(tmp_path,), out=tmp_path, beside=beside)
    assert artist(config, rounds[champion], rounds[1:champion]) == rounds[drawer]


def test_where_all_are_too_deep_the_champion_draws_and_the_gate_of_depth_says_so(tmp_path: Path) -> None:
    rounds = [write_round(tmp_path, i, depth=3) for i in range(2)]
    assert artist(ImproveConfig(data=(tmp_path,), out=tmp_path), rounds[1], []) == rounds[1]
