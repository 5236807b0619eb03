"""Which attention a denoiser computes with, and which kernel it was that truly ran."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

KERNELS = {
    "_scaled_dot_product_flash_attention_for_cpu": "sdpa, flash on the CPU",
    "_scaled_dot_product_fused_attention_overrideable": "sdpa, the device's own",
    "_scaled_dot_product_flash_attention": "sdpa, flash",
    "_scaled_dot_product_efficient_attention": "sdpa, memory-efficient",
    "_scaled_dot_product_cudnn_attention": "sdpa, cuDNN",
    "_scaled_dot_product_attention_math": "sdpa, plain products",
    "baddbmm": "eager, plain products",
}
"""Operations that torch runs for attention, in words. Those of xformers are named as they are."""


def set_attention(denoiser: Any, wanted: str, device: torch.device) -> str:
    """Choose a denoiser's attention; returns the classes that will run. ValueError where xformers cannot.

    wanted: sdpa, eager, xformers, or auto: eager on a CPU, where its backward pass is the faster one, else sdpa.
    """
    from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

    if wanted == "xformers":
        try:
            denoiser.enable_xformers_memory_efficient_attention()
        except (ImportError, ModuleNotFoundError, ValueError, NotImplementedError, RuntimeError) as error:
            first = str(error).strip().splitlines()[0]
            raise ValueError(
                f"--attention xformers: {first}; install vesalius[xformers] on a machine with an NVIDIA GPU, "
                "or use sdpa"
            ) from None
    else:
        eager = wanted == "eager" or (wanted == "auto" and device.type == "cpu")
        denoiser.set_attn_processor(AttnProcessor() if eager else AttnProcessor2_0())
    return "+".join(sorted({type(p).__name__ for p in denoiser.attn_processors.values()}))


class _Kernels(TorchDispatchMode):
    """Remembers which kernels of attention are run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func.overloadpacket)
        if name == "aten.scaled_dot_product_attention":  # in inference mode it comes before it has chosen its kernel
            with self:
                return func.decompose(*args, **(kwargs or {}))
        if name.startswith("xformers."):
            self.seen.add(name)
        elif (word := KERNELS.get(name.rpartition(".")[2])) is not None:
            self.seen.add(word)
        return func(*args, **(kwargs or {}))


class AttentionWatch:
    """Watches a denoiser's next pass for the kernel of its attention.

    seen: in words, such as "sdpa, flash on the CPU"; "" until a pass was made. That pass takes a little longer.
    """

    def __init__(self, denoiser: Any) -> None:
        self.seen = ""
        forward = denoiser.forward

        def watched(*args: Any, **kwargs: Any) -> Any:
            if self.seen:
                return forward(*args, **kwargs)
            with _Kernels() as kernels:
                predicted = forward(*args, **kwargs)
            self.seen = " + ".join(sorted(kernels.seen)) or "none that is known"
            return predicted

        denoiser.forward = watched
