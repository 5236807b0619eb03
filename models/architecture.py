"""The architecture of `nano`: diffusers' own classes at the smallest size that still draws what it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Sizes of one Stable-Diffusion-shaped model."""

    image_size: int = 128
    """pixels along an edge; the latent grid is image_size / 2 ** (len(autoencoder_channels) - 1)"""
    latent_channels: int = 12
    """channels of the latents"""
    autoencoder_channels: tuple[int, ...] = (16, 48, 96)
    """of each level of the autoencoder"""
    denoiser_channels: tuple[int, ...] = (48, 144, 224)
    """of each level of the denoiser"""
    denoiser_heads: int = 4
    """heads of its attention"""
    layers_per_block: int = 1
    """residual layers of each of its levels"""
    text_width: int = 256
    """numbers of a token's embedding"""
    text_layers: int = 3
    """layers of the text encoder"""
    text_heads: int = 4
    """heads of its attention"""
    vocabulary: int = 3072
    """tokens that the tokenizer knows"""
    context: int = 256
    """tokens in one chunk of text, begin and end marks included"""

    @property
    def latent_size(self) -> int:
        return self.image_size >> (len(self.autoencoder_channels) - 1)


NANO = Architecture()
TINY = Architecture(
    image_size=32, latent_channels=4, autoencoder_channels=(16, 24), denoiser_channels=(16, 32), denoiser_heads=2,
    text_width=32, text_layers=1, text_heads=2, vocabulary=640, context=64,
)  # fmt: skip


def make_autoencoder(sizes: Architecture) -> AutoencoderKL:
    from diffusers import AutoencoderKL

    depth = len(sizes.autoencoder_channels)
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=sizes.latent_channels, sample_size=sizes.image_size,
        down_block_types=("DownEncoderBlock2D",) * depth, up_block_types=("UpDecoderBlock2D",) * depth,
        block_out_channels=sizes.autoencoder_channels, layers_per_block=1, norm_num_groups=4,
        mid_block_add_attention=False, scaling_factor=1.0,
    )  # fmt: skip


def make_denoiser(sizes: Architecture) -> UNet2DConditionModel:
    """A fresh denoiser. Attention works at the coarsest level alone, where matrix products do most for their cost.

    All levels hear the text beside the timestep, pooled (Saharia et al. 2022, arXiv 2205.11487, appendix D); at first
    nothing of it.
    """
    from diffusers import UNet2DConditionModel
    from torch.nn import init

    depth = len(sizes.denoiser_channels)
    denoiser = UNet2DConditionModel(
        sample_size=sizes.latent_size, in_channels=sizes.latent_channels, out_channels=sizes.latent_channels,
        block_out_channels=sizes.denoiser_channels, layers_per_block=sizes.layers_per_block, norm_num_groups=16,
        down_block_types=("DownBlock2D",) * (depth - 1) + ("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",) + ("UpBlock2D",) * (depth - 1),
        attention_head_dim=sizes.denoiser_heads, cross_attention_dim=sizes.text_width, use_linear_projection=True,
        addition_embed_type="text", addition_embed_type_num_heads=sizes.text_heads,
    )  # fmt: skip
    init.zeros_(denoiser.add_embedding.norm2.weight)
    return denoiser


def make_text_encoder(sizes: Architecture, *, bos: int, eos: int) -> CLIPTextModel:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=sizes.vocabulary, hidden_size=sizes.text_width, intermediate_size=4 * sizes.text_width,
            projection_dim=sizes.text_width, num_hidden_layers=sizes.text_layers, num_attention_heads=sizes.text_heads,
            max_position_embeddings=sizes.context, bos_token_id=bos, eos_token_id=eos, pad_token_id=eos,
        )
    )  # fmt: skip


def make_scheduler() -> DDIMScheduler:
    """v-prediction, zero terminal SNR, trailing steps (Lin et al. 2024, arXiv 2305.08891): true blacks and whites."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        rescale_betas_zero_snr=True, timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True,
        steps_offset=1,  # nothing to trailing steps, but the plain pipeline warns of any other
    )  # fmt: skip


def make_sampler(scheduler: DDIMScheduler) -> DPMSolverMultistepScheduler:
    """DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095) over the noise levels of a training's scheduler.

    Its 12 steps obeyed prompts as well as 20 of DDIM: it is of second order.
    """
    from diffusers import DPMSolverMultistepScheduler

    config = {k: v for k, v in scheduler.config.items() if k in DPMSolverMultistepScheduler().config}
    return DPMSolverMultistepScheduler(**config)
