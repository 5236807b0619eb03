"""How processes hold what a run trains: each all of it, as adapters want it. `sharding.Shards` is the other way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from accelerate import Accelerator

from vesalius.finetune.feeding.batch import Batch
from vesalius.finetune.feeding.texts import Texts
from vesalius.finetune.learning.trained import Trained
from vesalius.finetune.learning.validation import Question, validate
from vesalius.finetune.running.checkpoint import load_checkpoint
from vesalius.finetune.running.launch import average_gradients
from vesalius.finetune.running.pictures import draw_pictures
from vesalius.inference.request import Request
from vesalius.models.computing.machine import out_of_memory

if TYPE_CHECKING:
    from vesalius.models.text import TextGroups


@dataclass(frozen=True, kw_only=True)
class Replicas:
    """Every process holds all weights; what they do together is here, so that the loop need not know how."""

    trained: Trained
    accelerator: Accelerator

    @property
    def main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    @property
    def takes_part(self) -> bool:
        """Whether this process has a part in checkpoints and pictures, which the main one writes."""
        return self.main

    @property
    def speaks(self) -> bool:
        """Whether this process says what befell it: of what befalls all together the main one speaks."""
        return True

    def load_checkpoint(self, run: Path) -> tuple[int, dict[str, torch.Tensor], dict[str, Any]] | None:
        """As `checkpoint.load_checkpoint`. All processes have to call it."""
        return load_checkpoint(run)

    def gather(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Whole tensors, on the main process at least."""
        return tensors

    def embed(self, texts: Texts, prompts: Sequence[str], grid: Sequence[int]) -> TextGroups:
        """As `Texts.__call__`."""
        return texts(prompts, grid)

    def run(self, one_pass: Callable[[Batch, TextGroups], torch.Tensor], batch: Batch, text: TextGroups) -> Any:
        """`one_pass` forward and backward; returns its losses."""
        return one_pass(batch, text)

    def may_halve(self, error: BaseException) -> bool:
        """Whether an error of `run` is one after which fewer images at a time may go."""
        return out_of_memory(error)

    def settle_gradients(self, parameters: Sequence[torch.nn.Parameter], limit: float) -> torch.Tensor:
        """Give all processes the mean of their gradients, its norm clipped; returns what that was, a scalar."""
        average_gradients(self.accelerator, parameters)
        return torch.nn.utils.clip_grad_norm_(parameters, limit)

    def validate(self, scheduler: Any, texts: Texts, questions: list[Question], stopped: Sequence[int]) -> float | None:
        """As `validation.validate`."""
        return validate(self.trained.denoiser, scheduler, texts, questions, self.accelerator, stopped)

    def draw(self, requests: Sequence[Request], path: Path, precision: Literal["fp32", "bf16"]) -> None:
        """As `pictures.draw_pictures`, on all processes that take part."""
        device = str(self.accelerator.device)
        draw_pictures(self.trained.base, requests, path, device=device, precision=precision, write=self.main)

    def assemble(self) -> None:
        """Put whole weights into the main process's pipeline, to be written."""
