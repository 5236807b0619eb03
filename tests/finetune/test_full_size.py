"""The whole shape of Stable Diffusion 1.5, with random weights: what is small in other tests is as large as life.

About two minutes of one core with bfloat16, 10 GB of memory and 3 GB of disk.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.finetune import lora
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.lora import finetune
from vesalius.models.adapters.check import check_adapter
from vesalius.models.adapters.config import AdapterCheckConfig
from vesalius.models.full_size import write_sd15


@pytest.mark.slow
def test_it_is_fine_tuned_goes_on_where_it_stopped_and_its_adapter_works_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_sd15(tmp_path / "sd15")
    data = write_phantoms(PhantomConfig(num=6, seed=1, size=256, out=tmp_path / "data", json=True, val=0.3, test=0))
    config = FinetuneConfig(
        data=(data,), base=str(base), out=tmp_path / "run", steps=3, batch_size=1, rank=4, alpha=4, warmup=0,
        learning_rate=1e-3, precision="bf16", num_validation=1, validate_every=100, save_every=1, num_pictures=0,
        tracker="none", json=True, device="cpu",
    )  # fmt: skip
    taken, steps = lora.backward, list[int]()

    def stops(draw: object, step: int, *rest: object) -> object:
        steps.append(step)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return taken(draw, step, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(lora, "backward", stops)
    with pytest.raises(KeyboardInterrupt):
        finetune(config)
    summary = finetune(config)
    assert steps == [0, 1, 2, 2]
    assert (summary.step, summary.finished) == (3, True)
    rows = [json.loads(line) for line in (config.out / "losses.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    # Nothing was learnt yet that a loss of about 1, that of random weights, would show; the adapter has moved.
    assert all(0.5 < row["loss"] < 3 and row["gradient_norm"] > 0 for row in rows)
    report = check_adapter(AdapterCheckConfig(adapter=config.out, base=str(base), steps=1))
    assert report.ok, report.problems
    assert report.effect > 0
    assert report.num_matched == report.num_layers == 16 * 10  # in 16 blocks eight of attention and two beside
