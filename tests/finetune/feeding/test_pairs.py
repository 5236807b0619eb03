"""Preference tuning on rated pairs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vesalius.data.record import read_rows
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.pairs import load_pairs
from vesalius.finetune.feeding.texts import Texts
from vesalius.finetune.lora import finetune
from vesalius.models.adapters.adapter import apply_adapter, read_card
from vesalius.models.base import open_base

ConfigFor = Callable[..., FinetuneConfig]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """8 pairs: bright pictures are preferred to dark ones."""
    rows = []
    rng = np.random.default_rng(0)
    for i in range(8):
        for name, low in (("better", 150), ("worse", 10)):
            pixels = rng.integers(low, low + 80, (32, 32)).astype(np.uint8)
            (tmp_path / "pictures").mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "pictures" / f"{name}-{i}.png")
        names = {n: f"pictures/{n}-{i}.png" for n in ("better", "worse")}
        rows.append({"text": "Brain MRI", "modality": "MRI", **names})
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return tmp_path / "pairs.jsonl"


def change(pairs: Path, **fields: Any) -> Path:
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    rows[2] = {k: v for k, v in {**rows[2], **fields}.items() if v is not None}
    pairs.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return pairs


def test_preference_tuning_begins_at_log_2_and_learns_what_is_preferred(
    config_for: ConfigFor, pairs: Path, tiny_base: Path
) -> None:
    config = config_for(pairs=(pairs,), steps=40, batch_size=8, learning_rate=3e-3, rank=8, alpha=8, dpo_beta=20.0)
    finetune(config)
    losses = [row["loss"] for row in read_rows(config.out / "losses.jsonl")]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-5)
    assert np.mean(losses[-10:]) < 0.9 * math.log(2)
    card = read_card(config.out)
    assert card is not None
    assert card.depth == 1
    # What it predicts at pure noise moves towards the bright side
    plain, tuned = open_base(str(tiny_base)), open_base(str(tiny_base))
    apply_adapter(tuned, config.out)
    noise = torch.randn(16, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    timesteps = torch.full((16,), 700)
    bright = tuned.pipeline.vae.encode(torch.full((1, 3, 32, 32), 0.5)).latent_dist.mean
    dark = tuned.pipeline.vae.encode(torch.full((1, 3, 32, 32), -0.8)).latent_dist.mean
    ((_, text, *_),) = Texts(plain, plain.pipeline.text_encoder)(["Brain MRI"] * 16)
    with torch.no_grad():
        moved = [b.pipeline.unet(noise, timesteps, text).sample for b in (plain, tuned)]
    # v = alpha noise - sigma latents: less v along the direction means more of it in the picture
    assert ((moved[1] - moved[0]) * (bright - dark)).sum() < 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"worse": None}, r"pairs.jsonl:3: has no worse; a pair needs text, modality, better, worse"),
        ({"text": " "}, r"pairs.jsonl:3: has no text"),
        ({"worse": "pictures/better-2.png"}, "better and worse are the same picture"),
        ({"better": "../secret.png"}, "pairs.jsonl:3"),
        ({"better": "pictures/none.png"}, "pairs.jsonl:3"),
        ({"modality": "TMR"}, "pairs.jsonl:3: modality 'TMR'"),
        ({"depth": "deep"}, "depth 'deep' is no whole number"),
    ],
)
def test_a_bad_pair_is_named(pairs: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_pairs([change(pairs, **fields)])


def test_pairs_that_are_too_deep_or_do_not_go_with_other_choices_are_refused(
    config_for: ConfigFor, pairs: Path
) -> None:
    with pytest.raises(ValueError, match="--pairs need an adapter"):
        finetune(config_for(pairs=(pairs,), kind="full"))
    with pytest.raises(ValueError, match="leave out views"):
        finetune(config_for(pairs=(pairs,), views=2))
    with pytest.raises(ValueError, match="generation depth 4 is over 3"):
        finetune(config_for(pairs=(change(pairs, depth=4),)))
    with pytest.raises(ValueError, match="no such file of rated pairs"):
        finetune(config_for(pairs=(Path("nowhere.jsonl"),)))
