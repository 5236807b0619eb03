"""One batch of requests to pixels: the one place where a base's pipeline is called.

    pixels = draw_batch(pipeline, requests, shape=shape, num_chunks=1, sampling=sampling, ...)

From noise alone, or from pictures: those go back into noise as far as their strength says (Meng et al. 2021, SDEdit,
arXiv 2108.01073); and where a mask says that a part stays, that part is set to the picture, at the noise level of each
step (Avrahami et al. 2022, blended latent diffusion, arXiv 2206.02779), so any base can fill in what lies inside.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from vesalius.data.images.image import Float32, Shape
from vesalius.data.texts.prompt import clean
from vesalius.inference.drawing.text_cache import TextCache
from vesalius.inference.drawing.watching import Watch, watched
from vesalius.inference.prompts.source import Start, composite, open_starts
from vesalius.inference.request import Request, Sampling


def draw_batch(
    pipeline: Any,
    batch: Sequence[Request],
    *,
    shape: Shape,
    num_chunks: int,
    sampling: Sampling,
    device: str,
    half: bool,
    texts: TextCache,
    watch: Watch | None = None,
) -> Float32:
    """Requests of one size, one number of chunks and one kind of start -> pixels N3HW float32 in [-1, 1].

    shape: height and width in pixels. num_chunks: contexts of the text encoder that the longest text fills. half: in
    bfloat16. texts: embeddings that are kept. watch: is told of each step. ValueError where a picture to start from
    cannot be had, or the base draws what is no number.
    """
    starts = open_starts(batch, shape, sampling.steps) if batch[0].source else None
    with torch.inference_mode(), torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half):
        told = _texts(pipeline, batch, num_chunks, sampling, texts)
        told |= {
            "num_inference_steps": sampling.steps,
            "guidance_scale": sampling.guidance,
            "generator": [torch.Generator().manual_seed(request.seed) for request in batch],
            "output_type": "pt",
        }
        if watch is not None:
            pipeline = copy.copy(pipeline)
            pipeline.scheduler = copy.deepcopy(pipeline.scheduler)
            told["callback_on_step_end"] = watched(pipeline, batch, watch)
        if starts is None:
            drawn = pipeline(**told, height=shape[0], width=shape[1]).images
        else:
            drawn = _draw_from(pipeline, starts, told, device)
    if not torch.isfinite(drawn).all():
        raise ValueError(
            f"prompt '{batch[0].prompt[:60]}': the base draws values that are not numbers; lower --guidance, or "
            "look whether base and adapter are whole"
        )
    pixels: Float32 = drawn.float().cpu().numpy() * 2 - 1
    return pixels if starts is None else composite(pixels, starts)


def _texts(
    pipeline: Any, batch: Sequence[Request], num_chunks: int, sampling: Sampling, cache: TextCache
) -> dict[str, Any]:
    """What the pipeline is told of the texts: embeddings of the prompts, and with guidance of the negative one."""
    asked = {"prompt": [request.prompt for request in batch]}
    if sampling.is_guided:
        asked["negative_prompt"] = [sampling.negative] * len(batch)
    told: dict[str, Any] = {}
    for name, texts in asked.items():
        told[f"{name}_embeds"], pooled = cache.embed(pipeline, [clean(text) for text in texts], num_chunks)
        if pooled is not None:
            told[f"{'negative_' * ('negative' in name)}pooled_prompt_embeds"] = pooled
    return told


def _draw_from(pipeline: Any, starts: Sequence[Start], told: dict[str, Any], device: str) -> torch.Tensor:
    """Draw from pictures, pixels N3HW in [0, 1]."""
    factor = pipeline.vae.config.scaling_factor
    pixels = [torch.from_numpy(start.pixels)[None].to(device, pipeline.vae.dtype) for start in starts]
    clean_ones = torch.cat([pipeline.vae.encode(each).latent_dist.mean * factor for each in pixels]).float()
    noise = torch.cat([torch.randn((1, *clean_ones.shape[1:]), generator=g) for g in told["generator"]]).to(clean_ones)
    walk = _walk_from(pipeline, clean_ones, noise)
    if starts[0].mask is not None:
        cells = torch.stack([torch.from_numpy(start.cells(clean_ones.shape[-2:])) for start in starts])
        inside = cells[:, None].to(clean_ones)
        also = told.get("callback_on_step_end")

        def keep_outside(pipe: Any, index: int, _: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            if also is not None:
                also(pipe, index, _, tensors)
            left, kept = pipe.num_timesteps - index - 1, clean_ones
            if left:
                level = pipe.scheduler.timesteps[-left].repeat(len(starts))
                kept = pipe.scheduler.add_noise(clean_ones, noise, level)
            return {"latents": (kept + inside * (tensors["latents"] - kept)).to(tensors["latents"].dtype)}

        told = {**told, "callback_on_step_end": keep_outside}
    images: torch.Tensor = walk(**told, image=torch.cat(pixels) / 2 + 0.5, strength=starts[0].strength).images
    return images


def _walk_from(pipeline: Any, clean_ones: torch.Tensor, noise: torch.Tensor) -> Any:
    """diffusers' image-to-image pipeline of a base, which starts from these latents in this noise.

    It would encode the pictures itself, by a sample of the posterior; and it takes pictures of four channels alone for
    latents, which the latents of a base may have or not.
    """
    from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionXLImg2ImgPipeline

    is_large = getattr(pipeline, "text_encoder_2", None) is not None
    kind: Any = StableDiffusionXLImg2ImgPipeline if is_large else StableDiffusionImg2ImgPipeline

    class Walk(kind):  # type: ignore[misc]
        def prepare_latents(self, image: Any, timestep: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
            started: torch.Tensor = self.scheduler.add_noise(clean_ones, noise, timestep)
            return started

    more = {} if is_large else {"requires_safety_checker": False}
    walk = Walk(**pipeline.components, **more)
    walk.set_progress_bar_config(disable=True)
    return walk
