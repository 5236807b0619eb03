"""The optimizer of a network trained from scratch: Muon for its matrices and kernels, AdamW for the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vesalius.finetune.running.checkpoint import optimizer_tensors, restore_optimizer


class MatrixOptimizer:
    """torch.optim.Muon (Jordan et al. 2024) on every weight of two or more dimensions inside the network, a kernel
    [out, in, h, w] taken as the matrix [out, in h w]; AdamW on the parameters whose names begin with one of `outer`,
    which are to be the first and last layers and embeddings, and on biases and norms.

    Muon's updates are scaled to the root mean square of AdamW's (Liu et al. 2025, arXiv 2502.16982, eq. 4), so that
    one learning rate serves both. ValueError for weights that are not contiguous: they are no matrices as they lie.
    """

    def __init__(
        self, network: nn.Module, learning_rate: float, weight_decay: float = 0.01, outer: tuple[str, ...] = ()
    ) -> None:
        named = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
        inner = [p for n, p in named if p.ndim >= 2 and not n.startswith(outer)]
        kept = {id(p) for p in inner}
        self.inner = [(p, nn.Parameter(p.detach().flatten(1))) for p in inner]
        if not all(weight.is_contiguous() for weight, _ in self.inner):
            raise ValueError("the network's weights are not contiguous; keep its default memory format")
        rest = [p for _, p in named if id(p) not in kept]
        matrices = torch.optim.Muon(
            [m for _, m in self.inner], lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        self.parts: tuple[torch.optim.Optimizer, ...] = (
            matrices,
            torch.optim.AdamW(rest, lr=learning_rate, weight_decay=weight_decay, betas=(0.9, 0.99)),
        )

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        for weight, matrix in self.inner:
            # A view anew at each step: whoever wraps or moves a network may give its weights another storage.
            matrix.data = weight.data.flatten(1)
            matrix.grad = None if weight.grad is None else weight.grad.flatten(1)
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        for weight, _ in self.inner:
            weight.grad = None
        for part in self.parts:
            part.zero_grad()

    def tensors(self) -> dict[str, torch.Tensor]:
        """The state as named tensors; `restore` takes them back."""
        return {f"{i}.{k}": v for i, part in enumerate(self.parts) for k, v in optimizer_tensors(part).items()}

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        for i, part in enumerate(self.parts):
            start = f"{i}."
            restore_optimizer(part, {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)})
