"""One process of a sharded run, whose memory runs out or which tells what it holds.

accelerate launch ... sharded_process.py FOLDER forward|backward|none FLAGS_OF_FINETUNE
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from torch.distributed.tensor import DTensor

from vesalius.cli.main import main

RANK = os.environ["RANK"]
FORWARD, STEP = BasicTransformerBlock.forward, torch.optim.AdamW.step


def starved_forward(self: Any, hidden_states: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
    """Memory for one image at a time on the second process, in the middle of a pass."""
    if RANK == "1" and len(hidden_states) > 1 and torch.is_grad_enabled():
        raise torch.OutOfMemoryError("CUDA out of memory")
    return FORWARD(self, hidden_states, *rest, **named)


def starved_backward(self: Any, hidden_states: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
    def fail(_: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    output = FORWARD(self, hidden_states, *rest, **named)
    if RANK == "1" and len(hidden_states) > 1 and output.requires_grad:
        output.register_hook(fail)
    return output


def told_step(self: torch.optim.AdamW, *rest: Any, **named: Any) -> Any:
    """Write down how many numbers of weights and optimizer states this process holds, and how many there are."""
    done = STEP(self, *rest, **named)
    weights = [p for group in self.param_groups for p in group["params"]]
    states = [v for slots in self.state.values() for v in slots.values() if v.dim()]
    held = {
        "all": sum(p.numel() for p in weights),
        "weights": sum(stored(p) for p in weights),
        "states": sum(stored(v) for v in states),
    }
    (Path(sys.argv[1]) / f"held-{RANK}.json").write_text(json.dumps(held))
    return done


def stored(tensor: torch.Tensor) -> int:
    local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return local.untyped_storage().nbytes() // local.element_size()


if __name__ == "__main__":
    if sys.argv[2] == "forward":
        BasicTransformerBlock.forward = starved_forward
    if sys.argv[2] == "backward":
        BasicTransformerBlock.forward = starved_backward
    torch.optim.AdamW.step = told_step  # type: ignore[method-assign]
    import signal

    from vesalius.cli.main import Stopped

    def stop(*_: object) -> None:
        raise Stopped

    signal.signal(signal.SIGTERM, stop)
    code = main(["finetune", *sys.argv[3:]])
    (Path(sys.argv[1]) / f"code-{RANK}").write_text(str(code))
    sys.exit(code)
