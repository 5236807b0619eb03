"""The shapes of published models: what speed and memory are measured on, where their weights are not needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vesalius.data.record import write_json
from vesalius.models.base import base_folder

AUTOENCODER: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4, "sample_size": 512,
}  # fmt: skip
"""That of Stable Diffusion 1 and SDXL, 84 M parameters."""
TEXT: dict[str, Any] = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "vocab_size": 49408,
}  # fmt: skip
"""CLIP ViT-L's, of Stable Diffusion 1 and SDXL, 123 M parameters."""
TEXT_2 = {
    **TEXT, "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
    "projection_dim": 1280, "hidden_act": "gelu",
}  # fmt: skip
"""OpenCLIP ViT-bigG's, the second one of SDXL, 695 M parameters."""
SDXL: dict[str, Any] = {
    "sample_size": 128, "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10), "attention_head_dim": (5, 10, 20), "use_linear_projection": True,
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
"""SDXL's denoiser (Podell et al. 2023, arXiv 2307.01952, table 1), 2.57 B parameters."""


def write_sd15(folder: Path, size: int = 256) -> Path:
    """A base of the shape of Stable Diffusion 1.5, 1.07 B parameters, for images of `size` pixels along an edge.

    Its weights are random, in float16, as they are published; its tokenizer is that of `nano`.
    """
    import torch
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    pieces = clip_tokenizer()
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(**AUTOENCODER), text_encoder=CLIPTextModel(CLIPTextConfig(**TEXT, **marks(pieces))),
        tokenizer=pieces,
        unet=UNet2DConditionModel(sample_size=size // 8, cross_attention_dim=768, attention_head_dim=8),
        scheduler=DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    return folder


def write_sdxl_shape(folder: Path) -> Path:
    """The configuration files of a base of SDXL's shape, without weights: enough to plan a run of it."""
    pieces = clip_tokenizer()
    parts = {
        "unet": SDXL, "vae": {**AUTOENCODER, "sample_size": 1024, "scaling_factor": 0.13025},
        "text_encoder": {**TEXT, **marks(pieces)}, "text_encoder_2": {**TEXT_2, **marks(pieces)},
    }  # fmt: skip
    for part, settings in parts.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        write_json(folder / part / "config.json", settings)
    for part in ("tokenizer", "tokenizer_2"):
        pieces.save_pretrained(folder / part)
    (folder / "scheduler").mkdir(exist_ok=True)
    write_json(folder / "scheduler" / "scheduler_config.json", {"_class_name": "EulerDiscreteScheduler"})
    write_json(folder / "model_index.json", {"_class_name": "StableDiffusionXLPipeline"})
    return folder


def clip_tokenizer() -> Any:
    """The tokenizer of `nano` with CLIP's context."""
    from transformers import CLIPTokenizer

    pieces = CLIPTokenizer.from_pretrained(base_folder("nano") / "tokenizer")
    pieces.model_max_length = 77
    return pieces


def marks(tokenizer: Any) -> dict[str, int]:
    return {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
