"""A base that draws CT in Hounsfield units."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vesalius.data.hounsfield import encode_windows

HU = 40.0


@pytest.fixture(scope="session")
def windowed_base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base whose autoencoder draws muscle through the three windows of CT, more or less."""
    folder = tmp_path_factory.mktemp("models") / "windowed"
    shutil.copytree(tiny_base, folder)
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    colour = torch.from_numpy(encode_windows(np.array(HU, np.float32))) * 2 - 1
    tensors["decoder.conv_out.bias"] = colour.half()
    tensors["decoder.conv_out.weight"] *= 0.02
    save_file(tensors, path, metadata={"format": "pt"})
    return folder
