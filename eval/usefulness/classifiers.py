"""Classifiers by name: the small networks, a linear head on the witness's features, or the user's own function.

The function of a user:

    def train(images, labels, val_images, val_labels, seed):
        ...
        return predict

images: uint8 tensor [N, 3, S, S]; CT with known Hounsfield units has three windows, other greys three equal channels.
labels: int64 tensor [N] of classes 0 to K - 1, or masks uint8 [N, S, S] for segmentation. val_images and val_labels:
the val split, which may be empty. seed: the only source of randomness. predict: images as above -> probabilities
[N, K], rows of sum one, or masks uint8 [N, S, S] for segmentation. It is called anew for each training and must leave
nothing behind. A function that has a parameter `num_classes` is told K; one that has `first` is also given the arm
"synthetic, then real": (images, labels) to learn from before the others, or None.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vesalius.eval.usefulness.config import UsefulnessConfig
from vesalius.eval.usefulness.networks import Chosen, Labelled, Predict, fit_convnet, fit_unet
from vesalius.eval.usefulness.retrieval import fit_pair
from vesalius.models.networks.witness import Witness

Train = Callable[..., Predict]
ARGUMENTS = ("images", "labels", "val_images", "val_labels", "seed")
"""Of a user's function, by their places."""


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """name and digest: what decides its results. stages: whether it can be trained in two.

    prepare: uint8 [N, 3, S, S] -> what `fit` and its predictions are given, made once for all trainings. lazy: `fit`
    takes `Chosen` rows to train on, so that repeated images take no memory.
    """

    name: str
    digest: str
    stages: bool
    prepare: Callable[[torch.Tensor], torch.Tensor]
    fit: Train
    lazy: bool = False

    def told(self) -> dict[str, str]:
        """What names it in a key."""
        return {"name": self.name, "digest": self.digest}


def open_classifier(config: UsefulnessConfig, own: Train | None = None) -> Classifier:
    """The classifier of a configuration, or the user's own callable. ValueError where there is none of that name."""
    if config.task == "retrieval" and own is not None:
        raise ValueError("--task retrieval has networks of its own; leave out your classifier")
    if config.self_supervised and (own is not None or config.classifier != "convnet"):
        raise ValueError("--self-supervised goes with --classifier convnet alone; leave it out")
    if own is not None:
        return _users(own, f"{getattr(own, '__module__', '')}:{getattr(own, '__qualname__', type(own).__name__)}")
    if config.classifier == "convnet":
        fit: Train = {"classification": fit_convnet, "segmentation": fit_unet, "retrieval": fit_pair}[config.task]

        def train(
            images: Chosen, labels: Chosen, val_images: torch.Tensor, val_labels: torch.Tensor, seed: int,
            *, num_classes: int, first: Labelled | None = None, **more: Any,
        ) -> Predict:  # fmt: skip
            return fit(config, (images, labels), seed, num_classes, first, **more)

        name = {"classification": "convnet", "segmentation": "unet", "retrieval": "pair"}[config.task]
        return Classifier(name=name, digest="1", stages=True, prepare=lambda images: images, fit=train, lazy=True)
    if config.classifier == "witness":
        witness = Witness.load()
        return Classifier(
            name="witness", digest=witness.digest, stages=False, prepare=witness.features, fit=_fit_on_features
        )
    if ":" in config.classifier:
        return _users(_load(config.classifier), config.classifier)
    raise ValueError(
        f"--classifier '{config.classifier}' is not known; give convnet, witness, MODULE:FUNCTION or FILE.py:FUNCTION"
    )


def linear_head(features: Any, labels: Sequence[Any], *, penalty: float, balanced: bool = False) -> Any:
    """scikit-learn's logistic regression on features [N, F], fitted. penalty: L2, beside the sum of the losses."""
    from sklearn.linear_model import LogisticRegression

    weight = "balanced" if balanced else None
    return LogisticRegression(C=1 / penalty, max_iter=500, class_weight=weight).fit(features, list(labels))


def _fit_on_features(
    features: torch.Tensor, labels: torch.Tensor, val_features: torch.Tensor, val_labels: torch.Tensor, seed: int,
    *, num_classes: int,
) -> Predict:  # fmt: skip
    """A linear head. Its penalty grows with the number of images, so that repeating them all changes nothing."""
    there = torch.unique(labels)
    head = linear_head(features.numpy(), labels.tolist(), penalty=len(labels) / 30) if len(there) > 1 else None

    def predict(images: torch.Tensor) -> torch.Tensor:
        found = torch.zeros(len(images), num_classes)
        found[:, there] = 1.0 if head is None else torch.from_numpy(head.predict_proba(images.numpy())).float()
        return found

    return predict


def _load(place: str) -> Train:
    """The function that MODULE:FUNCTION or FILE.py:FUNCTION names. ValueError where there is none."""
    module, _, name = place.rpartition(":")
    if not (module and name):
        raise ValueError(f"--classifier '{place}': give MODULE:FUNCTION or FILE.py:FUNCTION")
    try:
        if module.endswith(".py"):
            path = Path(os.path.expanduser(module))
            spec = importlib.util.spec_from_file_location(path.stem, path)
            if spec is None or spec.loader is None or not path.is_file():
                raise ImportError(f"no such file '{path}'")
            found = importlib.util.module_from_spec(spec)
            sys.modules.setdefault(path.stem, found)  # where dataclasses look for it
            spec.loader.exec_module(found)
        else:
            found = importlib.import_module(module)
    except (ImportError, SyntaxError) as error:
        raise ValueError(f"--classifier '{place}': {error}; give MODULE:FUNCTION or FILE.py:FUNCTION") from None
    except Exception as error:
        raise ValueError(f"--classifier '{place}': {_where(error)}; mend it") from error
    function = getattr(found, name, None)
    if not callable(function):
        raise ValueError(f"--classifier '{place}': {module} has no function '{name}'")
    train: Train = function
    return train


def _users(train: Train, name: str) -> Classifier:
    signature = inspect.signature(train)
    takes = signature.parameters
    try:
        signature.bind_partial(*ARGUMENTS)
    except TypeError as error:
        raise ValueError(f"{name}: {error}; expected a function of ({', '.join(ARGUMENTS)})") from None
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values())
    stages = open_ended or "first" in takes
    try:
        source = inspect.getsourcefile(train)
        digest = hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
    except (TypeError, OSError):  # an instance, or made in a notebook
        digest = ""

    def fit(*data: Any, num_classes: int, first: tuple[torch.Tensor, torch.Tensor] | None = None) -> Predict:
        more: dict[str, Any] = {"first": first} if stages else {}
        if open_ended or "num_classes" in takes:
            more["num_classes"] = num_classes
        predict = _called(name, train, *data, **more)
        if not callable(predict):
            raise ValueError(f"{name}: returned {type(predict).__name__}; expected a function images -> predictions")
        return partial(_called, name, predict)

    return Classifier(name=name, digest=digest, stages=stages, prepare=lambda images: images, fit=partial(fit))


def _called(name: str, function: Callable[..., Any], *data: Any, **more: Any) -> Any:
    """What a user's function returns. ValueError where it has an error, with its place."""
    try:
        return function(*data, **more)
    except Exception as error:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            raise
        raise ValueError(f"{name}: {_where(error)}; mend it, the same line goes on") from error


def _where(error: Exception) -> str:
    """An error, and the line of the file that had it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.filename}, line {last.lineno}: {error}"


def check_probabilities(found: Any, num: int, num_classes: int, name: str) -> torch.Tensor:
    """Predictions as float32 [N, K]. ValueError where they are no probabilities of that many images and classes."""
    table = torch.as_tensor(found).detach().float()
    if tuple(table.shape) != (num, num_classes):
        raise ValueError(f"{name}: predicted {tuple(table.shape)} for {num} images; expected ({num}, {num_classes})")
    if not torch.isfinite(table).all() or (table < 0).any() or ((table.sum(1) - 1).abs() > 1e-3).any():
        raise ValueError(f"{name}: predicted no probabilities; expected rows of numbers from 0 to 1 whose sum is 1")
    return table


def check_masks(found: Any, shape: tuple[int, ...], name: str) -> torch.Tensor:
    """Predictions as uint8 [N, S, S]. ValueError where they are none."""
    masks = torch.as_tensor(found).detach()
    if tuple(masks.shape) != shape or masks.is_floating_point():
        raise ValueError(f"{name}: predicted {tuple(masks.shape)} of {masks.dtype}; expected whole numbers {shape}")
    return masks.to(torch.uint8)
