"""Full fine-tuning with sharded weights, gradients and optimizer states (FSDP2), as a file of `accelerate launch` says.

accelerate reads that file and hands its words on; the denoiser is sharded here, by torch's `fully_shard`, since
accelerate itself does so on GPUs alone. Sharded processes gather each block's weights together, so all of them have to
call the denoiser equally often: most of this module sees to that.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_auto_wrap_policy
from accelerate.utils.other import get_module_children_bottom_up
from safetensors import safe_open
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.batch import Batch
from vesalius.finetune.feeding.texts import Texts
from vesalius.finetune.learning.trained import Trained
from vesalius.finetune.learning.validation import Question
from vesalius.finetune.running.checkpoint import find_checkpoint
from vesalius.finetune.running.replicas import Replicas
from vesalius.inference.request import Request
from vesalius.models.computing.machine import out_of_memory
from vesalius.models.objective import denoising_loss

if TYPE_CHECKING:
    from vesalius.models.text import TextGroups

FILE = "runs/accelerate/fsdp-sdxl.yaml"
WAIT = timedelta(hours=6)
"""How long processes wait for each other; one of them may be writing a checkpoint meanwhile."""

# PyTorch 2.13 has new names for these
GATHER = getattr(distributed, "all_gather_single", None) or distributed.all_gather_into_tensor
SCATTER = getattr(distributed, "reduce_scatter_single", None) or distributed.reduce_scatter_tensor


def sharding_asked(config: FinetuneConfig) -> FullyShardedDataParallelPlugin | None:
    """What a launch's file says about sharding; None where the launch shards nothing.

    ValueError where the run cannot be sharded, or not in that way. Cheap: nothing is loaded.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true" or "LOCAL_RANK" not in os.environ:
        return None
    if config.kind != "full":
        raise ValueError(
            f"--kind {config.kind}: an adapter's state is small and is not sharded; launch it with "
            "runs/accelerate/multi-gpu.yaml in place of a file of FSDP, or give --kind full"
        )
    if config.train_text:
        raise ValueError("--train-text: the text encoder is not sharded; launch with runs/accelerate/multi-gpu.yaml")
    if os.environ.get("FSDP_VERSION") != "2":
        raise ValueError(f"the launch's file asks for FSDP {os.environ.get('FSDP_VERSION', 1)}; say fsdp_version: 2")
    # Each process opens the base itself; with this word transformers would leave the others' text encoders empty.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    try:
        plugin = FullyShardedDataParallelPlugin()
    except ValueError as error:
        raise ValueError(f"the launch's file of FSDP: {error}; see {FILE}") from None
    if isinstance(plugin.cpu_offload, CPUOffloadPolicy):
        raise ValueError(
            "fsdp_offload_params is not supported; say false, and use more GPUs or a smaller --micro-batch"
        )
    if plugin.auto_wrap_policy is None:
        raise ValueError(f"the launch's file names no blocks to shard by; say fsdp_auto_wrap_policy, as {FILE} does")
    return plugin


class ShardsOutOfMemory(MemoryError):
    """Memory ran out on at least one process, and all of them know."""


@dataclass(kw_only=True)
class Exchange:
    """What sharded processes exchange in a pass, counted; the first `skip` of it are left out.

    That is how a process whose memory ran out in the middle of a pass does the rest of it for the others' sake.
    """

    done: int = 0
    skip: int = 0

    def begin(self, skip: int = 0) -> None:
        self.done, self.skip = 0, skip

    def due(self) -> bool:
        self.done += 1
        return self.done > self.skip


class Gather:
    """torch's own all-gather of a block's weights, counted."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self, output_tensor: torch.Tensor, input_tensor: torch.Tensor, group: Any, async_op: bool = False
    ) -> Any:
        if not self.exchange.due():
            return None
        return GATHER(output_tensor, input_tensor, group=group, async_op=async_op)


class Scatter(Gather):
    """torch's own reduce-scatter of a block's gradients, counted."""

    def __call__(  # type: ignore[override]
        self, output_tensor: torch.Tensor, input_tensor: torch.Tensor, group: Any, op: Any, async_op: bool = False
    ) -> Any:
        if not self.exchange.due():
            return None
        return SCATTER(output_tensor, input_tensor, op=op, group=group, async_op=async_op)


@dataclass(frozen=True, kw_only=True)
class Shards(Replicas):
    """A denoiser that is sharded over all processes, and what they have to do together.

    kind: its class before. group: processes that talk over gloo, so that no word of theirs waits for a GPU.
    """

    kind: Any
    group: Any
    exchange: Exchange = field(default_factory=Exchange)

    @property
    def denoiser(self) -> Any:
        return self.trained.denoiser

    @property
    def takes_part(self) -> bool:
        """Each process holds a part that the others need."""
        return True

    @property
    def speaks(self) -> bool:
        return self.main

    def most(self, value: int) -> int:
        """The largest value of all processes."""
        told = torch.tensor(value)
        distributed.all_reduce(told, distributed.ReduceOp.MAX, group=self.group)
        return int(told)

    def of_main(self, value: Any) -> Any:
        """What the main process has, on all."""
        told = [value]
        distributed.broadcast_object_list(told, src=0, group=self.group, device=torch.device("cpu"))
        return told[0]

    def embed(self, texts: Texts, prompts: Sequence[str], grid: Sequence[int]) -> TextGroups:
        """Texts in as many groups on every process, since the denoiser is called once for each. All processes have to
        call it, with equally many prompts."""
        groups = texts(prompts, grid)
        return split_groups(groups, self.most(len(groups)))

    def settle(self) -> None:
        """Free the whole weights that a pass without gradients may leave, so that parameters are shards again."""
        for module in self.denoiser.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    def run(self, one_pass: Callable[[Batch, TextGroups], torch.Tensor], batch: Batch, text: TextGroups) -> Any:
        """`one_pass` forward and backward on all processes; ShardsOutOfMemory on all where memory ran out on one.

        A process that fails has left the others waiting for its part of the weights. It makes the pass again with one
        image of each group, which exchanges the same in the same order, and leaves out what it had exchanged already.
        """
        self.exchange.begin()
        try:
            losses, failed = one_pass(batch, text), False
        except (RuntimeError, MemoryError) as error:
            if (
                len(batch.records) == len(text)
                or not out_of_memory(error)
                or not hasattr(FSDPModule, "reset_iter_state")
            ):
                raise  # nothing smaller to go on with: the launcher ends the others
            losses, failed = torch.empty(0), True
        if failed:  # outside of the handler, which holds the frames of the failed pass and their tensors
            self.denoiser.reset_iter_state()
            self.trained.zero_grad()
            if self.accelerator.device.type == "cuda":
                torch.cuda.empty_cache()
            self.exchange.begin(skip=self.exchange.done)
            one_pass(*smallest(batch, text))
        if self.most(int(failed)):
            raise ShardsOutOfMemory("out of memory on one of the sharded processes")
        return losses

    def may_halve(self, error: BaseException) -> bool:
        """None may go back alone: the others would wait for its part of the weights."""
        return isinstance(error, ShardsOutOfMemory)

    def settle_gradients(self, parameters: Sequence[torch.nn.Parameter], limit: float) -> torch.Tensor:
        """They are means already, each process's of its shards; the norm is that of the whole."""
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        whole: torch.Tensor = norm.full_tensor() if isinstance(norm, DTensor) else norm
        return whole

    @torch.no_grad()
    def validate(self, scheduler: Any, texts: Texts, questions: list[Question], stopped: Sequence[int]) -> float | None:
        """In rounds of a question for each process. Who has none, or a shorter one, computes more of another, which
        does not count: so that all call the denoiser equally often."""
        accelerator = self.accelerator
        device, num = accelerator.device, accelerator.num_processes
        self.denoiser.eval()
        total, count, stop = torch.zeros((), device=device), torch.zeros((), device=device), False
        for start in range(0, len(questions), num):
            if stop := bool(self.most(len(stopped))):
                break
            here = questions[start : start + num]
            own = accelerator.process_index < len(here)
            mine = here[accelerator.process_index if own else 0]
            rows = torch.arange(max(len(q.latents) for q in here)).clamp(max=len(mine.latents) - 1)
            latents, noise, timesteps = (t[rows].to(device) for t in (mine.latents, mine.noise, mine.timesteps))
            with accelerator.autocast():
                text = self.embed(texts, [mine.prompts[i] for i in rows], latents.shape[2:])
                losses = denoising_loss(self.denoiser, scheduler, latents, noise, timesteps, text)
            if own:
                total += losses[: len(mine.latents)].sum()
                count += len(mine.latents)
        self.settle()
        self.denoiser.train()
        sums = accelerator.reduce(torch.stack([total, count]), "sum").tolist()
        return None if stop else float(sums[0] / sums[1])

    def draw(self, requests: Sequence[Request], path: Path, precision: Literal["fp32", "bf16"]) -> None:
        if not self.of_main(path.is_file()):
            super().draw(requests, path, precision)
        self.settle()

    def gather(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Whole tensors, on the CPU of the main process; nothing on the others, which hold one at a time."""
        whole: dict[str, torch.Tensor] = {}
        for name, tensor in tensors.items():
            full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            if self.main:
                whole[name] = full.detach().cpu()
        return whole

    def load_checkpoint(self, run: Path) -> tuple[int, dict[str, torch.Tensor], dict[str, Any]] | None:
        """As `checkpoint.load_checkpoint`: the main process verifies it, and each reads its own shards from the disk,
        which all of them have to see."""
        found = self.of_main(find_checkpoint(run) if self.main else None)
        if found is None:
            return None
        folder, state = found
        owners = {f"denoiser.{name}": p for name, p in self.denoiser.named_parameters()}
        parameters, tensors = self.trained.parameters, dict[str, torch.Tensor]()
        with safe_open(folder / "tensors.safetensors", framework="pt") as file:
            for name in list(file.keys()):
                owner = parameters[int(name.split(".")[1])] if name.startswith("optimizer.") else owners.get(name)
                piece = file.get_slice(name)
                if isinstance(owner, DTensor) and piece.get_shape() == list(owner.shape):
                    tensors[name] = shard_of(piece, owner)
                else:  # such as Adam's count of steps
                    tensors[name] = file.get_tensor(name)
        return state["step"], tensors, state

    def assemble(self) -> None:
        """Put a whole denoiser into the main process's pipeline, on the CPU, to be written."""
        whole = self.gather(self.denoiser.state_dict())
        if self.main:
            with torch.device("meta"):
                denoiser = self.kind.from_config(self.denoiser.config)
            denoiser.load_state_dict(whole, assign=True)
            self.trained.base.pipeline.unet = denoiser.eval()


def spread(trained: Trained, plugin: FullyShardedDataParallelPlugin | None, accelerator: Accelerator) -> Replicas:
    """Bring what is trained onto the processes' devices: whole, or sharded where a launch's file says so."""
    if plugin is not None:
        return shard(trained, plugin, accelerator)
    trained.denoiser.to(accelerator.device)
    return Replicas(trained=trained, accelerator=accelerator)


def shard(trained: Trained, plugin: FullyShardedDataParallelPlugin, accelerator: Accelerator) -> Shards:
    """Shard the denoiser, block by block, onto the processes' devices: float32, computed with in the run's precision.

    ValueError where the file names a block that the base does not have.
    """
    denoiser, kind = trained.denoiser, type(trained.denoiser)
    if plugin.activation_checkpointing:
        denoiser.enable_gradient_checkpointing()
    try:
        plugin.set_auto_wrap_policy(denoiser)
    except ValueError as error:
        raise ValueError(f"fsdp_transformer_layer_cls_to_wrap: {error}; {FILE} names those of SDXL") from None
    chosen = fsdp2_prepare_auto_wrap_policy(plugin, denoiser)
    device = accelerator.device.type
    mesh = init_device_mesh(device, (accelerator.num_processes,))
    half = torch.bfloat16 if accelerator.mixed_precision == "bf16" else None
    how: dict[str, Any] = {"mesh": mesh, "reshard_after_forward": bool(plugin.reshard_after_forward)}
    units = [m for m in get_module_children_bottom_up(denoiser)[:-1] if chosen is not None and chosen(m)]
    for module in units:
        fully_shard(module, mp_policy=MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32), **how)
    # Sizes and timesteps come in here, which would not survive bfloat16; autocast makes of the rest what it needs.
    last = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32, cast_forward_inputs=False)
    fully_shard(denoiser, mp_policy=last, **how)
    shards = Shards(
        trained=trained, accelerator=accelerator, kind=kind, group=distributed.new_group(backend="gloo", timeout=WAIT)
    )
    for module in (*units, denoiser):
        module.set_custom_all_gather(Gather(shards.exchange))
        module.set_custom_reduce_scatter(Scatter(shards.exchange))
        # Of gloo's operations the mean is not one: the sum is divided afterwards
        module.set_force_sum_reduction_for_comms(device == "cpu")
        # Pictures are drawn in inference mode; what is first gathered in it could never be trained
        module.unshard()
        module.reshard()
    return shards


def split_groups(groups: TextGroups, num: int) -> TextGroups:
    """Groups of texts of one length, the largest of them halved until there are `num`."""
    parts = list(groups)
    while len(parts) < num:
        place = max(range(len(parts)), key=lambda i: len(parts[i][0]))
        half = len(parts[place][0]) // 2
        assert half, "more groups are asked for than there are texts"
        parts[place : place + 1] = [cut(parts[place], slice(0, half)), cut(parts[place], slice(half, None))]
    return parts


def cut(group: Any, part: slice) -> Any:
    """Some texts of a group."""
    rows, hidden, *more = group
    return (rows[part], hidden[part], *({k: v[part] for k, v in each.items()} for each in more))


def smallest(batch: Batch, text: TextGroups) -> tuple[Batch, TextGroups]:
    """A batch of the first image of each group, in as many groups."""
    rows = torch.cat([group[0][:1] for group in text])
    few: dict[str, Any] = {k: v[rows] for k, v in vars(batch).items() if isinstance(v, torch.Tensor)}
    few |= {"records": [batch.records[i] for i in rows], "prompts": [batch.prompts[i] for i in rows]}
    groups = [(rows.new_tensor([i]), *cut(group, slice(0, 1))[1:]) for i, group in enumerate(text)]
    return dataclasses.replace(batch, **few), groups


def shard_of(piece: Any, owner: DTensor) -> DTensor:
    """This process's shard of a tensor in a file, laid out as its parameter: equal parts along the first axis."""
    local, mesh = owner.to_local(), owner.device_mesh
    size = -(-owner.shape[0] // mesh.size())
    start = min(mesh.get_local_rank() * size, owner.shape[0])
    mine = piece[start : start + len(local)] if len(local) else torch.empty(local.shape)
    assert mine.shape == local.shape, (mine.shape, local.shape)
    return DTensor.from_local(
        mine.to(local.device), mesh, owner.placements, run_check=False, shape=owner.shape, stride=owner.stride()
    )
