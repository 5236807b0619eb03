"""Schedulers by name: other ways to walk from noise to a picture, over the noise levels that a base was trained on."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "ddpm": ("DDPMScheduler", {"clip_sample": False}),
    "deis": ("DEISMultistepScheduler", {}),
    "dpm++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "use_karras_sigmas": False}),
    "dpm++-karras": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True}),
    "dpm++-sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": False}),
    "dpm++-single": ("DPMSolverSinglestepScheduler", {"algorithm_type": "dpmsolver++", "lower_order_final": True}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "tcd": ("TCDScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}
"""What users call a scheduler, its class in diffusers, and the settings that make it the one that is meant. Those that
clip would clip latents, which reach far beyond 1."""


def find_scheduler(name: str) -> tuple[str, dict[str, Any]]:
    """Class name and settings of a scheduler by its name here, or by that of its class. ValueError where it is none."""
    low = name.lower()
    if low in SCHEDULERS:
        return SCHEDULERS[low]
    for kind, _ in SCHEDULERS.values():
        if low == kind.lower():
            return kind, {}
    near = difflib.get_close_matches(low, SCHEDULERS, n=1, cutoff=0.4)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise ValueError(f"--scheduler '{name}' is not known{hint} ({', '.join(SCHEDULERS)})")


def make_scheduler(name: str, config: Any) -> Any:
    """The scheduler of a name, over the noise levels of another one's config.

    ValueError where the name is none, or where that scheduler cannot walk these noise levels: such as one that knows
    nothing of a last level without signal (Lin et al. 2024, arXiv 2305.08891), where a base was trained on it.
    """
    import diffusers

    class_name, settings = find_scheduler(name)
    kind: Any = getattr(diffusers, class_name)
    if class_name == config.get("_class_name") and all(config.get(k) == v for k, v in settings.items()):
        return kind.from_config(config)
    takes = inspect.signature(kind.__init__).parameters
    needs = {
        "rescale_betas_zero_snr": (bool(config.get("rescale_betas_zero_snr")), "has a last noise level without signal"),
        "use_flow_sigmas": (config.get("prediction_type") == "flow_prediction", "predicts a flow"),
    }
    for parameter, (needed, why) in needs.items():
        if needed and parameter not in takes:
            kinds = {n: getattr(diffusers, c) for n, (c, _) in SCHEDULERS.items()}
            able = [n for n, k in kinds.items() if parameter in inspect.signature(k.__init__).parameters]
            raise ValueError(f"--scheduler {name}: cannot draw with this base, which {why}; use {', '.join(able)}")
    return kind.from_config(config, **settings)
