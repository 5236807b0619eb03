"""What someone who waits is told while pictures are drawn: after each denoising step how far they are, and on request
how they look by now.

The look is the picture that the last step predicts (the clean latents), not the noisy one it stands at. A decoder takes
as long as many steps of a large denoiser, so latents are averaged down first until the look has few pixels: those of an
autoencoder of convolutions decode to the same picture, smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

from vesalius.data.images.image import Picture, from_tensor_range
from vesalius.inference.request import Request, request_modality

if TYPE_CHECKING:
    import torch

LOOK_PIXELS = 128
"""Edge of a look at most."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where the drawing of some requests stands. number: steps that are done, of `steps`. look: the pictures as they
    are predicted by now, small; costs a decoding."""

    requests: Sequence[Request]
    number: int
    steps: int
    look: Callable[[], list[Picture]]


Watch = Callable[[Progress], None]
"""Is told of each step, in the thread that draws. What it raises ends the drawing, within that step. Of a batch that is
drawn in parts side by side each part tells of itself."""


def watched(pipeline: Any, batch: Sequence[Request], watch: Watch) -> Any:
    """A `callback_on_step_end` for a diffusers pipeline. Its scheduler tells what it predicts from now on, so it must
    be this drawing's own."""
    import torch

    seen: dict[str, torch.Tensor] = {}
    plain = pipeline.scheduler.step

    @wraps(plain)  # diffusers looks whether it takes a generator
    def step(*args: Any, **kwargs: Any) -> Any:
        moved = plain(*args, **kwargs)
        # Schedulers that keep clean latents for their next step tell no other way.
        kept = getattr(pipeline.scheduler, "model_outputs", None)
        if isinstance(moved, tuple) and len(moved) > 1 and torch.is_tensor(moved[1]):
            seen["clean"] = moved[1]
        elif kept and kept[-1] is not None and _predicts_clean(pipeline.scheduler):
            seen["clean"] = kept[-1]
        return moved

    pipeline.scheduler.step = step

    def told(pipe: Any, index: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        clean = seen.get("clean", tensors["latents"])
        watch(
            Progress(
                requests=batch, number=index + 1, steps=pipe.num_timesteps, look=lambda: _look(pipeline, batch, clean)
            )
        )
        return {}

    return told


def _predicts_clean(scheduler: Any) -> bool:
    config = scheduler.config
    return str(config.get("algorithm_type", "")).endswith("dpmsolver++") or bool(config.get("predict_x0"))


def _look(pipeline: Any, batch: Sequence[Request], latents: torch.Tensor) -> list[Picture]:
    """Latents NCHW to small pictures."""
    import torch

    most = max(1, LOOK_PIXELS // int(pipeline.vae_scale_factor))
    fold = -(-max(latents.shape[-2:]) // most)
    if fold > 1:
        latents = torch.nn.functional.avg_pool2d(latents.float(), fold)
    vae = pipeline.vae
    pixels = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor, return_dict=False)[0]
    values = pixels.clamp(-1, 1).float().cpu().numpy()
    return [
        from_tensor_range(each, request_modality(request), request.prompt)
        for request, each in zip(batch, values, strict=True)
    ]
