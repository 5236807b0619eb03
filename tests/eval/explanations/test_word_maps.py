"""Maps of words: shares that add up, of a drawing that stays as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vesalius.eval.explanations.word_maps import WordMaps, attention_maps, watch_words, words_of
from vesalius.inference import Generator
from vesalius.inference.request import Request
from vesalius.models.text import open_tokenizer

PROMPT = "Chest CT with a 20 mm nodule in the left lung, and a mass."


def asked(prompt: str = PROMPT, seed: int = 3) -> Request:
    return Request(prompt=prompt, seed=seed, modality="CT")


@pytest.fixture(scope="module", params=["tiny_base", "tiny_xl", "tiny_sd"])
def generator(request: pytest.FixtureRequest) -> Generator:
    return Generator(str(request.getfixturevalue(request.param)), device="cpu")


@pytest.fixture(scope="module")
def tiny_sd(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of Stable Diffusion 1.5's shape: attention at two levels, nothing of the text beside it."""
    import json
    import shutil

    from diffusers import UNet2DConditionModel

    folder = shutil.copytree(tiny_base, tmp_path_factory.mktemp("models") / "sd")
    sizes = json.loads((folder / "unet" / "config.json").read_text())
    torch.manual_seed(1)
    denoiser = UNet2DConditionModel(
        sample_size=sizes["sample_size"], in_channels=sizes["in_channels"], out_channels=sizes["out_channels"],
        cross_attention_dim=sizes["cross_attention_dim"], block_out_channels=(16, 32, 32), norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"), layers_per_block=1,
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"), attention_head_dim=2,
    )  # fmt: skip
    shutil.rmtree(folder / "unet")
    denoiser.save_pretrained(folder / "unet")
    return folder


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_drawing_is_the_same_and_the_denoiser_is_left_as_it_was(generator: Generator, guidance: float) -> None:
    before = dict(generator.base.pipeline.unet.attn_processors)
    ((_, plain),) = generator.draw_all([asked()], steps=3, guidance=guidance)
    watched = watch_words(generator, asked(), steps=3, guidance=guidance)
    assert np.array_equal(plain.image, watched.picture.image)
    assert generator.base.pipeline.unet.attn_processors == before


def test_words_and_marks_add_up_to_one_at_every_place(generator: Generator) -> None:
    watched = watch_words(generator, asked(), steps=3)
    assert watched.maps.shape[1:] == watched.marks.shape == watched.picture.image.shape[:2]
    np.testing.assert_allclose(watched.maps.sum(0) + watched.marks, 1, atol=1e-4)
    assert watched.maps.min() >= 0
    assert watched.steps == 3
    assert sum(watched.shares().values()) + float(watched.marks.mean()) == pytest.approx(1, abs=1e-4)


def test_the_levels_that_attend_are_told(tiny_base: Path, tiny_sd: Path) -> None:
    one, several = (watch_words(Generator(str(b), device="cpu"), asked(), steps=2).grids for b in (tiny_base, tiny_sd))
    assert one == ((8, 8),)
    assert several == ((16, 16), (8, 8), (4, 4))


def test_maps_are_those_of_another_implementation(tiny_base: Path) -> None:
    """The attention of diffusers' own plain processor, of the last step, for one layer."""
    generator = Generator(str(tiny_base), device="cpu")
    unet = generator.base.pipeline.unet
    seen: list[torch.Tensor] = []
    layers = [m for n, m in unet.named_modules() if n.endswith("attn2")]
    plain = layers[0].get_attention_scores

    for layer in layers:
        scores = layer.get_attention_scores

        def noted(query: torch.Tensor, key: torch.Tensor, mask: object = None, scores: object = scores) -> torch.Tensor:
            probabilities: torch.Tensor = scores(query, key, mask)  # type: ignore[operator]
            seen.append(probabilities.detach().float())
            return probabilities

        layer.get_attention_scores = noted
    from diffusers.models.attention_processor import AttnProcessor

    processors = dict(unet.attn_processors)
    unet.set_attn_processor({n: AttnProcessor() if "attn2" in n else p for n, p in processors.items()})
    list(generator.draw_all([asked()], steps=2, guidance=3.0))
    for layer in layers:
        del layer.get_attention_scores
    unet.set_attn_processor(processors)
    assert layers[0].get_attention_scores == plain
    heads = layers[0].heads
    theirs = torch.stack([p[-heads:].mean(0) for p in seen]).mean(0)  # cells, tokens: the half that hears the prompt
    words, owners = words_of(generator.base.pipeline.tokenizer, PROMPT, theirs.shape[1])
    watched = watch_words(generator, asked(), steps=2, guidance=3.0)
    for i, word in enumerate(words):
        mine = theirs[:, [t for t, o in enumerate(owners) if o == i]].sum(1)
        assert watched.shares()[word] == pytest.approx(float(mine.mean()), rel=1e-3)


def test_other_weights_and_another_prompt_make_other_maps(tiny_base: Path) -> None:
    """The control of Adebayo et al. 2018: a map that does not hang on the weights says nothing of them."""
    generator = Generator(str(tiny_base), device="cpu")
    first = watch_words(generator, asked(), steps=3)
    assert np.array_equal(first.maps, watch_words(generator, asked(), steps=3).maps)
    for name, module in generator.base.pipeline.unet.named_modules():
        if name.endswith(("attn2.to_q", "attn2.to_k")):
            torch.nn.init.normal_(module.weight, std=0.5)
    second = watch_words(generator, asked(), steps=3)
    assert first.words == second.words
    assert correlation(first, second) < 0.5


def correlation(first: WordMaps, second: WordMaps) -> float:
    """Of two drawings' maps, each less its mean."""
    a, b = (each.maps - each.maps.mean((1, 2), keepdims=True) for each in (first, second))
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_a_long_report_has_maps_of_all_its_words(tiny_base: Path) -> None:
    generator = Generator(str(tiny_base), device="cpu")
    report = " ".join(f"Nodule number {i} in the left lung." for i in range(20))
    maps = attention_maps(generator, asked(f"Chest CT. {report}"), steps=1)
    assert {"Nodule", "Nodule (20)", "19"} <= set(maps)
    assert all(m.shape == (32, 32) and m.max() > 0 for m in maps.values())


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("T2-weighted MRI, 3.5 cm o'clock.", ["T2-weighted", "MRI", ",", "3.5", "cm", "o'clock", "."]),
        ("CT the  the\nthe", ["CT", "the", "the (2)", "the (3)"]),
        ("H&E: 20mm", ["H", "&", "E", ":", "20mm"]),
        ("IRM du crâne", ["IRM", "du", "crâne"]),
    ],
)
def test_words_are_those_of_people(prompt: str, words: list[str], tiny_base: Path) -> None:
    tokenizer = open_tokenizer(str(tiny_base))
    found, owners = words_of(tokenizer, prompt, 64)
    assert list(found) == words
    assert {o for o in owners if o is not None} == set(range(len(words)))
    assert owners[0] is None
    assert owners[-1] is None


def test_chinese_is_cut_where_tokens_are() -> None:
    found, owners = words_of(open_tokenizer("nano"), "胸部CT，左肺结节。", 256)
    assert "".join(found).replace(" (2)", "") == "胸部CT，左肺结节。"
    assert "左肺" in found
    assert {o for o in owners if o is not None} == set(range(len(found)))
