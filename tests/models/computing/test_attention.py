"""The kernel that is told is the one that ran."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vesalius.models.base import open_base
from vesalius.models.computing.attention import AttentionWatch, set_attention

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("wanted", "seen"), [("sdpa", "sdpa, flash on the CPU"), ("eager", "eager, plain products"), ("auto", "eager")]
)
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_the_kernel_that_ran_is_told(wanted: str, seen: str, mode: type[torch.inference_mode], tiny_base: Path) -> None:
    denoiser = open_base(str(tiny_base)).pipeline.unet
    set_attention(denoiser, wanted, CPU)
    watch = AttentionWatch(denoiser)
    assert watch.seen == ""
    noisy, text = torch.randn(1, 4, 16, 16), torch.randn(1, 64, 32)
    with mode():
        first, second = (denoiser(noisy, torch.tensor(5), text).sample for _ in range(2))
    assert watch.seen.startswith(seen)
    assert torch.equal(first, second)


def test_xformers_where_it_cannot_run_is_refused_with_the_remedy(tiny_base: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("here it may run")
    with pytest.raises(ValueError, match=r"--attention xformers: .*or use sdpa"):
        set_attention(open_base(str(tiny_base)).pipeline.unet, "xformers", CPU)
