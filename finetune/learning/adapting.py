"""The loop of a run that makes an adapter of drawings: measure, save, step.

It resumes bit for bit by its checkpoints where the loss is a function of seed, step and weights alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import nn

from vesalius.data.command.progress import Progress
from vesalius.finetune.learning.schedule import warmup_cosine
from vesalius.finetune.running.checkpoint import load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from vesalius.finetune.running.launch import watch_signals

Tensors = dict[str, torch.Tensor]


class Adapting(Protocol):
    """What the loop asks of a run's configuration."""

    @property
    def out(self) -> Path: ...
    @property
    def steps(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def warmup(self) -> int: ...
    @property
    def save_every(self) -> int: ...
    @property
    def validate_every(self) -> int: ...
    @property
    def json(self) -> bool: ...


def adapt(
    config: Adapting,
    denoiser: Any,
    loss_at: Callable[[int], torch.Tensor],
    measure: Callable[[], dict[str, float]],
    *,
    what: str,
    digests: Mapping[str, str],
    tensors: Callable[[], Tensors] = dict,
    restore: Callable[[Tensors], None] | None = None,
) -> list[dict[str, float]] | None:
    """Train the adapter of a PEFT-wrapped denoiser to its last step; what was measured on the way, each with its step,
    or None where a signal stopped it.

    loss_at: the loss of a step, a scalar. digests: "NAME_digest" of what must be as it was to go on. tensors, restore:
    what is learnt beside the adapter, in a checkpoint and back. ValueError where something changed, or the loss is no
    number.
    """
    adapter = [p for p in denoiser.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(adapter, lr=config.learning_rate, weight_decay=0.0, betas=(0.9, 0.99))
    step, validation = 0, list[dict[str, float]]()
    if (found := load_checkpoint(config.out)) is not None:
        step, kept, state = found
        if changed := [k.removesuffix("_digest") for k, v in digests.items() if state.get(k) != v]:
            raise ValueError(
                f"{config.out}: the {' and '.join(changed)} changed since its step {step}; "
                "give another --out, or bring them back"
            )
        weights = {k.removeprefix("adapter."): v for k, v in kept.items() if k.startswith("adapter.")}
        set_peft_model_state_dict(denoiser, weights)
        restore_optimizer(optimizer, kept)
        if restore is not None:
            restore(kept)
        validation = state["validation"]

    # The loop
    saved = step
    with watch_signals() as stopped, Progress(what, config.steps, start=step, quiet=config.json) as bar:
        while True:
            due = step % config.validate_every == 0 or step == config.steps
            if due and step not in {v["step"] for v in validation}:
                validation.append({"step": step, **measure()})
            if step > saved and (step % config.save_every == 0 or step == config.steps or stopped):
                now = {f"adapter.{k}": v for k, v in get_peft_model_state_dict(denoiser).items()}
                now |= optimizer_tensors(optimizer) | tensors()
                save_checkpoint(config.out, step, now, {"validation": validation, **digests})
                saved = step
            if step == config.steps:
                return validation
            if stopped:
                return None
            loss = loss_at(step)
            if not math.isfinite(loss.item()):
                raise ValueError(f"step {step}: the loss is {loss.item()}; lower --learning-rate")
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(adapter, 1.0)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * warmup_cosine(step, config.steps, config.warmup)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            told = " ".join(f"{name} {value:.3f}" for name, value in validation[-1].items() if name != "step")
            bar.step(note=f"loss {loss.item():.4f} {told}")
