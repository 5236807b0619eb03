"""Records to adapters: LoRA on a frozen base, or all its weights."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vesalius.finetune.cloud.config import CloudConfig as CloudConfig
    from vesalius.finetune.cloud.task import Rendered as Rendered
    from vesalius.finetune.cloud.task import render_task as render_task
    from vesalius.finetune.config import FinetuneConfig as FinetuneConfig
    from vesalius.finetune.lora import RunSummary as RunSummary
    from vesalius.finetune.lora import finetune as finetune
    from vesalius.finetune.planning.config import PlanConfig as PlanConfig
    from vesalius.finetune.planning.plan import Plan as Plan
    from vesalius.finetune.planning.plan import plan as plan
    from vesalius.finetune.running.runs import Run as Run
    from vesalius.finetune.running.runs import RunsConfig as RunsConfig
    from vesalius.finetune.running.runs import list_runs as list_runs
else:
    from vesalius.data.command.exports import exports

    __all__, __getattr__, __dir__ = exports(__name__)
