"""Prompts to samples: drawing, and writing with provenance."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vesalius.inference.augmentation.config import AugmentConfig as AugmentConfig
    from vesalius.inference.augmentation.run import AugmentSummary as AugmentSummary
    from vesalius.inference.augmentation.run import augment as augment
    from vesalius.inference.config import GenerateConfig as GenerateConfig
    from vesalius.inference.drawing.memory import MemoryPlan as MemoryPlan
    from vesalius.inference.drawing.memory import plan_memory as plan_memory
    from vesalius.inference.generator import Generator as Generator
    from vesalius.inference.prompts.grid import Grid as Grid
    from vesalius.inference.prompts.grid import grid_prompts as grid_prompts
    from vesalius.inference.request import Request as Request
    from vesalius.inference.request import Source as Source
    from vesalius.inference.running.run import GenerateSummary as GenerateSummary
    from vesalius.inference.running.run import generate as generate
    from vesalius.inference.sample import Sample as Sample
    from vesalius.inference.sample import load_samples as load_samples
    from vesalius.inference.sample import sample_seed as sample_seed
    from vesalius.inference.sample import stream_samples as stream_samples
    from vesalius.inference.service.app import Service as Service
    from vesalius.inference.service.app import build_service as build_service
    from vesalius.inference.service.config import ServeConfig as ServeConfig
else:
    from vesalius.data.command.exports import exports

    __all__, __getattr__, __dir__ = exports(__name__)
