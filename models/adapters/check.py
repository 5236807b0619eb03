"""Whether an adapter does in plain diffusers what it does here: loaded in both, asked the same, compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.models.adapters.adapter import apply_adapter, part_folders, read_card
from vesalius.models.adapters.config import AdapterCheckConfig
from vesalius.models.adapters.export import told_sampling
from vesalius.models.adapters.layers import PARTS, WEIGHTS, LoraFile, Match, add_layers, match_layers, read_lora
from vesalius.models.base import Base, base_folder, open_base
from vesalius.models.text import embed, size_condition

if TYPE_CHECKING:
    import torch

LARGEST = 1e-3
"""Largest difference, on outputs of unit size and pixels in [0, 1], that is rounding: the order of sums differs."""
PROMPT = "Chest CT with a 20 mm nodule in the left lung."


@dataclass(frozen=True, kw_only=True)
class AdapterReport:
    """What an adapter is, and whether it works elsewhere.

    base: what it was trained on, where it says so. targets: kinds of layers that it changes. unmatched: its layers and
    keys that fit nothing in the base. differences: largest absolute difference between plain diffusers and Vesalius, by
    what was asked; effect: between the denoiser with and without the adapter. sampling: how it wants to be drawn with.
    problems: empty where all is well.
    """

    path: Path
    """what was looked at"""
    format: str
    """PEFT, diffusers or kohya"""
    base: str | None
    num_bytes: int
    """size of its weights"""
    ranks: tuple[int, ...]
    """that its layers have"""
    alphas: tuple[float, ...]
    """that its layers have"""
    targets: tuple[str, ...]
    parts: dict[str, int]
    """adapted layers by network"""
    num_layers: int
    """adapted layers"""
    num_matched: int
    """of them, that fit the base"""
    unmatched: tuple[str, ...]
    differences: dict[str, float]
    effect: float
    sampling: str | None
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


def check_adapter(config: AdapterCheckConfig) -> AdapterReport:
    """Load an adapter of any make here and in plain diffusers, and compare.

    ValueError where it is none, is damaged, or was trained on another base.
    """
    config.check()
    lora = read_lora(config.adapter)
    base = open_base(config.base)
    if lora.base_digest not in (None, base.digest):
        raise ValueError(
            f"{lora.path}: trained on base '{lora.base}' ({str(lora.base_digest)[:12]}), "
            f"not on '{base.name}' ({base.digest[:12]}); give its own --base"
        )
    matched, unmatched = match_layers(lora, base.pipeline)
    unmatched += lora.unknown
    differences: dict[str, float] = {}
    problems: list[str] = []
    effect = 0.0
    if unmatched:
        problems.append(f"{len(unmatched)} layers or keys fit nothing in base '{base.name}': {few(unmatched)}")
    if not matched:
        problems.append(f"none of its layers fits base '{base.name}': it was made for another kind of model")
    elif not any(bool(m.layer.up.any() and m.layer.down.any()) for m in matched):
        problems.append("it changes nothing: one matrix of every layer is all zeros")
    if matched:
        before = ask_denoiser(base.pipeline)
        load_here(base, lora, matched)
        effect = largest(ask_denoiser(base.pipeline), before)
        try:
            plain = load_plain(base, lora)
        except Exception as error:  # whatever other code says of the file is what is to be told
            problems.append(f"plain diffusers does not load it: {type(error).__name__}: {str(error)[:200]}")
        else:
            plain.scheduler = base.pipeline.scheduler
            for name, ask in questions(base.pipeline).items():
                differences[name] = largest(ask(plain, config.steps), ask(base.pipeline, config.steps))
            problems += told_differences(lora, differences)
    card = read_card(lora.path) if lora.format == "PEFT" else None
    return AdapterReport(
        path=lora.path, format=lora.format, base=lora.base,
        num_bytes=sum(p.stat().st_size for p in weight_files(lora)),
        ranks=tuple(sorted({layer.rank for layer in lora.layers})),
        alphas=tuple(sorted({round(layer.alpha, 4) for layer in lora.layers})),
        targets=tuple(sorted({match.target for match in matched})),
        parts={part: len(lora.of(part)) for part in PARTS if lora.of(part)},
        num_layers=len(lora.layers), num_matched=len(matched), unmatched=tuple(unmatched),
        differences=differences, effect=effect, sampling=told_sampling(card), problems=tuple(problems),
    )  # fmt: skip


def load_here(base: Base, lora: LoraFile, matched: list[Match]) -> None:
    """As `vesalius generate` does, for a folder; by the formula itself, for a file."""
    if lora.format == "PEFT":
        apply_adapter(base, lora.path)
    else:
        add_layers(matched)


def load_plain(base: Base, lora: LoraFile) -> Any:
    """A plain pipeline with the adapter loaded as its users would, in float32 on the CPU."""
    import torch

    more = {} if has_pooled(base.pipeline) else {"safety_checker": None}
    plain: Any = (
        type(base.pipeline)
        .from_pretrained(base_folder(base.name), use_safetensors=True, local_files_only=True, **more)
        .to(torch.float32)
    )
    plain.set_progress_bar_config(disable=True)
    if lora.format != "PEFT":
        plain.load_lora_weights(str(lora.path.parent), weight_name=lora.path.name, local_files_only=True)
        return plain
    for part, folder in part_folders(lora.path).items():
        if part == "unet":
            plain.unet.load_lora_adapter(str(folder), prefix="base_model.model", weight_name=WEIGHTS)
        else:
            getattr(plain, part).load_adapter(str(folder))
    return plain


def ask_text(pipeline: Any, _: int = 0) -> torch.Tensor:
    """Embeddings of a prompt, float32 [1, L, C]."""
    hidden: torch.Tensor = _ask_texts(pipeline)[0]
    return hidden


def ask_pooled(pipeline: Any, _: int = 0) -> torch.Tensor:
    """The pooled embedding of a prompt, which SDXL has beside, float32 [1, P]."""
    pooled: torch.Tensor = _ask_texts(pipeline)[1]
    return pooled


def _ask_texts(pipeline: Any) -> Any:
    import torch

    with torch.inference_mode():
        return embed(pipeline, [PROMPT])


def has_pooled(pipeline: Any) -> bool:
    """Whether a pipeline is SDXL's, whose denoiser is told a pooled text and sizes too."""
    return getattr(pipeline, "text_encoder_2", None) is not None


def ask_denoiser(pipeline: Any, _: int = 0) -> torch.Tensor:
    """What a denoiser says to fixed noise, timesteps and text of unit size, float32 [3, C, H, W]."""
    import torch

    sizes, generator = pipeline.unet.config, torch.Generator().manual_seed(0)
    noisy = torch.randn(3, sizes.in_channels, sizes.sample_size, sizes.sample_size, generator=generator)
    text = torch.randn(3, pipeline.tokenizer.model_max_length, sizes.cross_attention_dim, generator=generator)
    more: dict[str, Any] = {}
    if has_pooled(pipeline):
        pooled = torch.randn(3, pipeline.text_encoder_2.config.projection_dim, generator=generator)
        more["added_cond_kwargs"] = size_condition(pooled, (sizes.sample_size * pipeline.vae_scale_factor,) * 2)
    with torch.inference_mode():
        output: torch.Tensor = pipeline.unet(noisy, torch.tensor([1, 500, 999]), text, **more).sample
    return output


def ask_drawing(pipeline: Any, steps: int) -> torch.Tensor:
    """A picture of a fixed prompt and seed, float32 [1, 3, H, W] in [0, 1]."""
    import torch

    hidden, pooled = _ask_texts(pipeline)
    told = {"prompt_embeds": hidden, **({} if pooled is None else {"pooled_prompt_embeds": pooled})}
    told |= {f"negative_{name}": torch.zeros_like(value) for name, value in told.items()}
    with torch.inference_mode():
        drawn: torch.Tensor = pipeline(
            **told, num_inference_steps=steps, generator=torch.Generator().manual_seed(0), output_type="pt"
        ).images
    return drawn


def questions(pipeline: Any) -> dict[str, Callable[[Any, int], torch.Tensor]]:
    """What both are asked, by name."""
    if has_pooled(pipeline):
        asked = {"text encoders": ask_text, "pooled text": ask_pooled}
    else:
        asked = {"text encoder": ask_text}
    return {**asked, "denoiser": ask_denoiser, "drawing": ask_drawing}


def largest(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest absolute difference; infinite where either is not finite."""
    gap = float((one - other).abs().max())
    return gap if gap == gap else float("inf")


def told_differences(lora: LoraFile, differences: dict[str, float]) -> list[str]:
    """What is wrong, with the cause where it is a known one, and the remedy."""
    over = {name: gap for name, gap in differences.items() if gap > LARGEST}
    if not over:
        return []
    told = ", ".join(f"{name} {gap:.2e}" for name, gap in over.items())
    remedy = ""
    if lora.format == "PEFT" and any(layer.alpha != layer.rank for layer in lora.layers):
        remedy = ": it takes alpha to be the rank; `vesalius adapter export` makes a file that it reads right"
    elif lora.is_dora:
        remedy = ": it leaves out the magnitudes of a DoRA"
    elif lora.format == "kohya" and any(len({layer.alpha for layer in lora.of(part)}) > 1 for part in PARTS):
        remedy = ": of layers with several alphas it takes the commonest for all"
    return [f"plain diffusers differs from Vesalius by more than {LARGEST:g} ({told}){remedy}"]


def weight_files(lora: LoraFile) -> list[Path]:
    """The files that hold an adapter's weights."""
    return [lora.path] if lora.format != "PEFT" else [f / WEIGHTS for f in part_folders(lora.path).values()]


def few(names: list[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
