"""Detectors by name: vision models of transformers at tiny size, functions, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from vesalius.models.detectors.source import FunctionDetector, open_detector, open_detectors
from vesalius.models.detectors.vision import VisionDetector

SMALL: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION: dict[str, Any] = {**SMALL, "image_size": 32, "patch_size": 8}
TEXT: dict[str, Any] = {**SMALL, "vocab_size": 64, "max_position_embeddings": 16}


def clip() -> Any:
    config = transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=24)
    return transformers.CLIPModel(config)


def clip_vision() -> Any:
    return transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**VISION))


def siglip() -> Any:
    return transformers.SiglipModel(transformers.SiglipConfig(text_config=TEXT, vision_config=VISION))


def siglip_vision() -> Any:
    return transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**VISION))


def dinov2() -> Any:
    return transformers.Dinov2Model(transformers.Dinov2Config(**{**SMALL, "image_size": 48, "patch_size": 8}))


def vit_without_pooler() -> Any:
    return transformers.ViTModel(transformers.ViTConfig(**VISION), add_pooling_layer=False)


MODELS: dict[str, tuple[Callable[[], Any], str, int]] = {
    "clip": (clip, "embedding", 24),
    "clip vision": (clip_vision, "pooled", 32),
    "siglip": (siglip, "embedding", 32),
    "siglip vision": (siglip_vision, "pooled", 32),
    "dinov2": (dinov2, "pooled", 32),
    "vit": (vit_without_pooler, "first token", 32),
}


def save(folder: Path, make: Callable[[], Any], **settings: Any) -> Path:
    torch.manual_seed(0)
    make().eval().save_pretrained(folder)
    row = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4], "size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps({**row, **settings}))
    return folder


def pictures(num: int = 5) -> torch.Tensor:
    return torch.randint(0, 256, (num, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", MODELS)
def test_any_vision_model_of_transformers_is_a_detector(name: str, tmp_path: Path) -> None:
    make, kind, width = MODELS[name]
    detector = open_detector(str(save(tmp_path / "tiny", make)))
    assert (detector.name, detector.kind, detector.image_size) == ("tiny", kind, 32)
    assert len(detector.digest) == 64
    features = detector(pictures())
    assert features.shape == (5, width)
    assert features.dtype == torch.float32
    assert torch.isfinite(features).all()
    assert torch.allclose(detector(pictures()[1:2]), features[1:2], atol=1e-5)
    assert not torch.allclose(features[0], features[1], atol=1e-3)


@pytest.mark.parametrize("name", ["clip", "dinov2"])
def test_features_are_those_of_transformers_itself(name: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "tiny", MODELS[name][0])
    model = transformers.AutoModel.from_pretrained(folder).eval()
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ([0.4, 0.5, 0.6], [0.2, 0.3, 0.4]))
    pixels = (pictures() / 255 - mean) / deviation
    with torch.inference_mode():
        if name == "clip":
            hidden = model.vision_model(pixel_values=pixels).pooler_output
            expected = model.visual_projection(hidden)
        else:
            expected = model(pixel_values=pixels).last_hidden_state[:, 0]
    assert torch.allclose(open_detector(str(folder))(pictures()), expected, atol=1e-5)


def test_the_size_is_that_of_the_crop_of_the_square_or_of_the_config(tmp_path: Path) -> None:
    cropped = save(tmp_path / "a", dinov2, size={"shortest_edge": 40}, crop_size={"height": 24, "width": 24})
    assert open_detector(str(cropped)).image_size == 24
    uncropped = save(tmp_path / "b", dinov2, size={"shortest_edge": 40})
    assert open_detector(str(uncropped)).image_size == 40
    assert open_detector(str(save(tmp_path / "c", dinov2, size=None))).image_size == 48


def test_pickles_and_code_are_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "tiny", dinov2)
    weights = folder / "model.safetensors"
    torch.save({}, folder / "pytorch_model.bin")
    kept = weights.read_bytes()
    weights.unlink()
    with pytest.raises(ValueError, match=r"no safetensors but pytorch_model\.bin; pickles run code"):
        VisionDetector(str(folder))
    weights.write_bytes(kept)
    config = json.loads((folder / "config.json").read_text())
    marker = tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w')\n")
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="cannot open it"):
        VisionDetector(str(folder))
    assert not marker.exists()


def test_a_folder_that_says_nothing_of_its_pictures_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "tiny", dinov2)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match="which mean and deviation"):
        VisionDetector(str(folder))
    with pytest.raises(ValueError, match="no vision model there"):
        VisionDetector(str(tmp_path))


def test_a_text_model_is_no_detector(tmp_path: Path) -> None:
    config = transformers.CLIPTextConfig(**TEXT)
    folder = save(tmp_path / "tiny", lambda: transformers.CLIPTextModel(config))
    with pytest.raises(ValueError, match="takes no pictures"):
        VisionDetector(str(folder))


def test_a_model_of_grey_pictures_is_refused(tmp_path: Path) -> None:
    config = transformers.Dinov2Config(**{**SMALL, "image_size": 32, "patch_size": 8, "num_channels": 1})
    folder = save(tmp_path / "tiny", lambda: transformers.Dinov2Model(config))
    with pytest.raises(ValueError, match="pictures of 1 channels"):
        VisionDetector(str(folder))


def mean_colour(images: torch.Tensor) -> torch.Tensor:
    return images.double().mean((2, 3))


def test_a_function_of_a_module_or_of_a_file_is_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def deviation(images):\n    return images.float().std((2, 3))\ndeviation.image_size = 64\n")
    detector = open_detector(f"{path}:deviation")
    assert (detector.image_size, detector.digest, detector.window) == (64, "", "display")
    assert torch.allclose(detector(pictures()), pictures().float().std((2, 3)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    assert open_detector("mine:deviation").name == "mine:deviation"
    with pytest.raises(ValueError, match="did you mean 'deviation'"):
        open_detector(f"{path}:deviations")
    with pytest.raises(ValueError, match="is no file"):
        open_detector(f"{tmp_path / 'none.py'}:deviation")
    with pytest.raises(ValueError, match="cannot be imported"):
        open_detector("no_such_module:deviation")


def test_a_function_is_a_detector_in_python_and_its_features_become_float32() -> None:
    detector = open_detector(mean_colour)
    assert isinstance(detector, FunctionDetector)
    assert detector.name == "mean_colour"
    assert detector(pictures()).dtype == torch.float32
    with pytest.raises(ValueError, match=r"expected a float tensor \[5, C\], one row a picture"):
        open_detector(lambda images: images.float())(pictures())


def test_names_that_are_none_are_told_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'witness'"):
        open_detector("witnes")
    with pytest.raises(ValueError, match="named twice"):
        open_detectors(["texture", "texture"])
    with pytest.raises(ValueError, match="no detector is named"):
        open_detectors([])
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE"):
        open_detector("owner/no-such-model")


def test_inception_says_what_it_needs() -> None:
    with pytest.raises(ValueError, match=r"vesalius\[inception\]|needs its weights"):
        open_detector("inception")
