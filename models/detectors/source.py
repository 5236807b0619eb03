"""Detectors by name: the embedded ones, a vision model of transformers, a Python function, Inception."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from vesalius.models.detectors.detector import DETECTORS, Detector, Window

FEATURE_SIZE = 224
"""Pixels along an edge of what a function is given that names no other size."""

Features = Callable[[torch.Tensor], torch.Tensor]
"""uint8 [N, 3, H, W] -> float [N, C]"""


class FunctionDetector:
    """Any function uint8 NCHW -> float NC as a detector.

    What it says of itself in attributes is taken over: `digest` (of its weights: without one nothing can know when its
    features change, and they are not kept on disk), `image_size` (224), `resize`, `window` ("model" or "display").
    """

    def __init__(self, function: Features, name: str = "") -> None:
        self.function = function
        self.name = name or str(getattr(function, "name", "") or getattr(function, "__name__", "function"))
        self.digest = str(getattr(function, "digest", ""))
        self.image_size = int(getattr(function, "image_size", FEATURE_SIZE))
        self.resize = str(getattr(function, "resize", "its own, if any"))
        self.window: Window = "model" if getattr(function, "window", "display") == "model" else "display"

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """ValueError where what comes back is no table with one row a picture."""
        found: Any = self.function(images)
        if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != len(images):
            got = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise ValueError(
                f"detector '{self.name}' made {got} of {len(images)} pictures; expected a float tensor "
                f"[{len(images)}, C], one row a picture"
            )
        return found.detach().to("cpu", torch.float32)


def open_detectors(names: Sequence[str | Detector | Features]) -> list[Detector]:
    """Detectors by name, or as they are. ValueError where one is there twice, or none is named."""
    if not names:
        raise ValueError(f"no detector is named; give at least one of {', '.join(DETECTORS)}, better two")
    opened: list[Detector] = [open_detector(name) for name in names]
    twice = {d.name for d in opened if sum(d.name == other.name for other in opened) > 1}
    if twice:
        raise ValueError(f"detector '{min(twice)}' is named twice; leave one out")
    return opened


def is_detector(value: Any) -> bool:
    """Whether it says of itself all that a report needs."""
    return callable(value) and all(hasattr(value, n) for n in ("name", "digest", "image_size", "resize", "window"))


def open_detector(source: Any) -> Any:
    """One detector: `judge`, `witness`, `texture`, `inception`, `module:function` or `file.py:function`, or a folder or
    hub id of a vision model of transformers; or a function or detector itself.

    ValueError where there is none such, where it holds pickles or code, and where what it needs is not there.
    """
    if not isinstance(source, str):
        return source if is_detector(source) else FunctionDetector(source)
    if source in DETECTORS:
        return DETECTORS[source]()
    if source == "inception":
        from vesalius.models.detectors.inception import InceptionDetector

        return InceptionDetector()
    if ":" in source and not Path(source).exists():
        return FunctionDetector(find_function(source), source)
    from vesalius.models.detectors.vision import VisionDetector

    near = difflib.get_close_matches(source, [*DETECTORS, "inception"], n=1, cutoff=0.6)
    if not Path(source).expanduser().exists() and source.count("/") != 1:
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ValueError(
            f"detector '{source}' is not known{hint} ({', '.join(DETECTORS)}, inception, a folder or hub id of a "
            "vision model, module:function, file.py:function)"
        )
    return VisionDetector(source)


def find_function(place: str) -> Features:
    """The function that `module:function` or `file.py:function` names; its module is run. ValueError names the place
    where there is none."""
    where, _, name = place.rpartition(":")
    try:
        if where.endswith(".py"):
            path = Path(where).expanduser()
            if not path.is_file():
                raise ValueError(f"detector '{place}': {path} is no file; give FILE.py:FUNCTION")
            spec = importlib.util.spec_from_file_location(f"vesalius_detector_{path.stem}", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # where dataclasses of the file look for themselves
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(where)
    except ImportError as error:
        raise ValueError(f"detector '{place}': {where} cannot be imported ({error})") from None
    function = getattr(module, name, None)
    if not callable(function):
        names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"detector '{place}': {where} has no function '{name}'{hint}")
    found: Features = function() if isinstance(function, type) else function
    return found
