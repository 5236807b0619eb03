"""Inception as a detector, in torch-fidelity's port of TensorFlow's weights: the network of most published FIDs."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import torch

from vesalius.data.record import digest_file
from vesalius.models.detectors.detector import Window

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
"""torch-fidelity's file; its name ends with the beginning of its sha256."""


class InceptionDetector:
    """The 2048 pooled features of Inception v3. Needs `vesalius[inception]`, and its weights on disk."""

    name = "inception"
    image_size = 299
    window: Window = "display"

    def __init__(self, weights: Path | None = None) -> None:
        """ValueError where torch-fidelity or the weights lack, or where the weights are others."""
        path = weights or Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import (  # type: ignore[import-not-found]
                URL_INCEPTION_V3,
                FeatureExtractorInceptionV3,
            )
        except ModuleNotFoundError as error:
            raise ValueError(
                f"detector 'inception' needs {error.name}; install it with `pip install \"vesalius[inception]\"`"
            ) from None
        if not path.is_file():
            raise ValueError(f"detector 'inception' needs its weights at {path}; fetch them from {URL_INCEPTION_V3}")
        self.digest = digest_file(path)
        if not self.digest.startswith(WEIGHTS.rsplit("-", 1)[1].removesuffix(".pth")):
            raise ValueError(
                f"{path}: is not torch-fidelity's file of weights (sha256 {self.digest[:16]}); fetch it again"
            )
        # It opens the file in a way that runs what a pickle says: first it is opened in one that does not.
        torch.load(path, weights_only=True)
        # Its own, bilinear without antialiasing as in TensorFlow 1, has nothing to do: pictures come at 299.
        self.resize = f"none (torch-fidelity {version('torch-fidelity')})"
        self.network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.network(part)[0].float().flatten(1) for part in images.split(32)])
