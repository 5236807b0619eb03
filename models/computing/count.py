"""Counts what a step computes and holds, without weights and without computing: shapes alone run through the networks.

torch's fake tensors behave as real ones but for having no content, so FLOPs, operations and the bytes that are alive at
once are those of a real step, forward and backward, of a base of any size in seconds.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from vesalius.models.base import NOT_A_BASE, base_folder, is_large, not_a_base
from vesalius.models.computing.work import Work
from vesalius.models.text import open_tokenizer, size_condition

Groups = Sequence[tuple[int, int]]
"""What `Texts` makes of a batch: images, and contexts of text that each of them has."""
aten = torch.ops.aten
PRODUCTS = ("mm", "addmm")
CONVOLUTIONS = ("convolution", "convolution_backward")
UPCAST = (functional.group_norm, functional.layer_norm, functional.softmax)
"""What autocast computes in float32 on GPUs and not on processors."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The networks of a base as shapes on the meta device, without weights, and its tokenizer.

    text_encoders: one, or the two of SDXL.
    """

    denoiser: Any
    autoencoder: Any
    text_encoders: tuple[Any, ...]
    tokenizer: Any

    @property
    def text_width(self) -> int:
        """Numbers of a token's embedding, as the denoiser gets it."""
        return sum(encoder.config.hidden_size for encoder in self.text_encoders)

    @property
    def image_size(self) -> int:
        return self.latent_size << (len(self.autoencoder.config.block_out_channels) - 1)

    @property
    def latent_size(self) -> int:
        size: int = self.denoiser.config.sample_size
        return size


@dataclass(frozen=True, kw_only=True)
class Count:
    """Work of some computation, and the most bytes that it had alive at once beside weights and inputs."""

    work: Work
    peak: int


def open_shape(name: str) -> Shape:
    """The shapes of a base, of its configuration files alone. ValueError where it is missing or not of this shape."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    folder = base_folder(name, weights=False)
    try:
        kinds = {"text_encoder": CLIPTextModel}
        if is_large(folder):
            kinds["text_encoder_2"] = CLIPTextModelWithProjection
        with torch.device("meta"):
            denoiser = UNet2DConditionModel.from_config(_settings(folder / "unet"))
            autoencoder = AutoencoderKL.from_config(_settings(folder / "vae"))
            encoders = tuple(kind(CLIPTextConfig(**_settings(folder / part))) for part, kind in kinds.items())
        tokenizer = open_tokenizer(name)
    except NOT_A_BASE as error:
        raise not_a_base(name, error) from None
    for part in (denoiser, autoencoder, *encoders):
        part.eval().requires_grad_(False)
    return Shape(denoiser=denoiser, autoencoder=autoencoder, text_encoders=encoders, tokenizer=tokenizer)


def _settings(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    return settings


def count_step(
    shape: Shape, denoiser: Any, groups: Groups, encoders: Sequence[Any] = (), *, half: bool, gpu: bool
) -> Count:
    """One forward and backward pass of a denoiser with its adapter, over the groups of a batch.

    encoders: the text encoders, where they are trained too. half: under bfloat16 autocast. gpu: as on a GPU, where
    autocast leaves other operations in float32.
    """
    denoiser.train()
    networks = nn.ModuleList([denoiser, *encoders])
    with _faked(networks) as mode, mode, _count(half, gpu) as tally:
        errors = []
        for num, chunks in groups:
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                predicted = _predict(shape, denoiser, num, _embeddings(shape, num, chunks, encoders)).float()
            errors.append(predicted.pow(2).mean((1, 2, 3)))
        torch.cat(errors).mean().backward()
        count = tally.count()
        networks.zero_grad(set_to_none=True)
    return count


@torch.no_grad()
def count_validation(shape: Shape, denoiser: Any, num: int, chunks: int, *, half: bool, gpu: bool) -> Count:
    """One forward pass over images of one question."""
    denoiser.eval()
    with _faked(denoiser) as mode, mode, _count(half, gpu) as tally:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            _predict(shape, denoiser, num, _embeddings(shape, num, chunks))
        return tally.count()


@torch.no_grad()
def count_text(shape: Shape, num: int, *, half: bool, gpu: bool) -> Count:
    """The text encoders over some contexts."""
    with _faked(nn.ModuleList(shape.text_encoders)) as mode, mode, _count(half, gpu) as tally:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            _embeddings(shape, num, 1, shape.text_encoders)
        return tally.count()


@torch.no_grad()
def count_encode(shape: Shape, num: int, *, half: bool, gpu: bool) -> Count:
    """The autoencoder's encoder over a batch of images."""
    with _faked(shape.autoencoder) as mode, mode, _count(half, gpu) as tally:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            posterior = shape.autoencoder.encode(torch.empty(num, 3, shape.image_size, shape.image_size)).latent_dist
        assert posterior.mean.shape[-1] == shape.latent_size
        return tally.count()


@torch.no_grad()
def count_decode(shape: Shape, num: int, *, half: bool, gpu: bool) -> Count:
    """The autoencoder's decoder over a batch of latents."""
    channels, size = shape.autoencoder.config.latent_channels, shape.latent_size
    with _faked(shape.autoencoder) as mode, mode, _count(half, gpu) as tally:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            shape.autoencoder.decode(torch.empty(num, channels, size, size))
        return tally.count()


def _embeddings(
    shape: Shape, num: int, chunks: int, encoders: Sequence[Any] = ()
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What texts are to a denoiser: embeddings [N, K * L, C] and, of SDXL, pooled ones [N, P], as
    `vesalius.models.text.embed` makes them with some encoders; without any, as inputs that are there."""
    length, large = shape.tokenizer.model_max_length, len(shape.text_encoders) > 1
    if not encoders:
        hidden = torch.empty(num, chunks * length, shape.text_width)
        return hidden, torch.empty(num, shape.text_encoders[1].config.projection_dim) if large else None
    ids = torch.zeros(num * chunks, length, dtype=torch.long)
    if not large:
        return encoders[0](ids)[0].reshape(num, chunks * length, -1), None
    outputs = [encoder(ids, output_hidden_states=True) for encoder in encoders]
    hidden = torch.cat([output.hidden_states[-2].reshape(num, chunks * length, -1) for output in outputs], dim=-1)
    return hidden, outputs[1].text_embeds.reshape(num, chunks, -1)[:, 0]


def _predict(shape: Shape, denoiser: Any, num: int, text: tuple[torch.Tensor, torch.Tensor | None]) -> torch.Tensor:
    """What a denoiser says to latents and texts, N4HW."""
    latents = torch.empty(num, shape.denoiser.config.in_channels, shape.latent_size, shape.latent_size)
    hidden, pooled = text
    more = {} if pooled is None else {"added_cond_kwargs": size_condition(pooled, (shape.image_size,) * 2)}
    predicted: torch.Tensor = denoiser(latents, torch.zeros(num, dtype=torch.long), hidden, **more).sample
    return predicted


@contextmanager
def _faked(network: nn.Module) -> Iterator[FakeTensorMode]:
    """A network on the meta device with fake tensors of the CPU in place of its parameters, for the while."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    former: list[tuple[dict[str, Any], str, Any]] = []
    for module in network.modules():
        tables: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for table in tables:
            for name, value in list(table.items()):
                if value is not None:
                    former.append((table, name, value))
                    # The device stays the meta device beneath, so that nothing is allocated.
                    fake: torch.Tensor = FakeTensor(mode, value.detach(), torch.device("cpu"))
                    table[name] = nn.Parameter(fake, value.requires_grad) if table is tables[0] else fake
    try:
        yield mode
    finally:
        for table, name, value in former:
            table[name] = value


class Tally(TorchDispatchMode):
    """Counts operations, the bytes that those that are no products move, and the bytes that are alive."""

    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counter = counter
        self.moved = self.operations = self.alive = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = [t for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
        if func.is_view or not made:
            return result
        self.operations += 1
        if func.overloadpacket not in self.counter.flop_registry:
            read = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
            self.moved += sum(t.numel() * t.element_size() for t in (*read, *made))
        for tensor in made:
            self._watch(tensor.untyped_storage())
        return result

    def _watch(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        self.known.add(key)
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.alive -= size

    def count(self) -> Count:
        return Count(
            work=Work(**flops_by_kind(self.counter), moved=self.moved, operations=self.operations), peak=self.peak
        )


class AsOnGpu(TorchFunctionMode):
    """Norms and softmax in float32, as CUDA's autocast has them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in UPCAST and torch.is_autocast_enabled("cpu"):
            args = (args[0].float(), *args[1:])
        return func(*args, **(kwargs or {}))


@contextmanager
def _count(half: bool, gpu: bool) -> Iterator[Tally]:
    counter = flop_counter()
    with counter, Tally(counter) as tally:
        if half and gpu:
            with AsOnGpu():
                yield tally
        else:
            yield tally


def flop_counter() -> FlopCounterMode:
    """torch's counter, taught the attention of processors, which it does not know."""
    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten._scaled_dot_product_flash_attention_for_cpu: _attention,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
        },
    )


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))


def flops_by_kind(counter: FlopCounterMode) -> dict[str, float]:
    """FLOPs of convolutions, of products with weights, and of attention, which is all other products."""
    found = {"convolution": 0.0, "matmul": 0.0, "attention": 0.0}
    for operation, flops in counter.get_flop_counts().get("Global", {}).items():
        name = str(operation).rsplit(".", 1)[-1]
        found["convolution" if name in CONVOLUTIONS else "matmul" if name in PRODUCTS else "attention"] += flops
    return found


def num_bytes(network: nn.Module) -> int:
    """Bytes of a network's weights in float32."""
    return sum(4 * p.numel() for p in network.parameters())


def trainable(network: nn.Module) -> int:
    """How many numbers an optimizer trains."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
