"""What the page asks to be drawn, and back from a picture's recipe; knows neither browser nor torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from vesalius.data.images.image import read_recipe
from vesalius.data.modality import MODALITIES, find_modality, modality_in
from vesalius.data.texts.prompt import clean
from vesalius.demo.sentences import Refusal, name_of
from vesalius.demo.terms import term
from vesalius.inference.sample import sample_seed

MAX_NUM, MAX_STEPS, MAX_GUIDANCE, MAX_TEXT = 8, 100, 15.0, 4000
MAX_SEED = 2**48 - 1
"""The largest seed that `sample_seed` makes; a browser's numbers hold it exactly."""
SHORT_SEED = 1_000_000_000
"""Seeds that the page makes are below it, so that a teacher can read one aloud."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One picture. modality None: the prompt says it. label: what sets it apart from the others of its order.
    guidance: None is the order's."""

    prompt: str
    seed: int
    modality: str | None = None
    label: str = ""
    guidance: float | None = None


@dataclass(frozen=True, kw_only=True)
class Order:
    """What one press of a button asks for: pictures that are drawn with the same settings."""

    asks: tuple[Ask, ...]
    steps: int
    guidance: float
    negative: str = ""
    kind: Literal["create", "compare"] = "create"

    def __post_init__(self) -> None:
        """ValueError in the page's words where the order cannot be drawn."""
        for ask in self.asks:
            _check_ask(ask)
        if len(self.negative) > MAX_TEXT:
            raise Refusal(
                f"The negative prompt has {len(self.negative)} characters; at most {MAX_TEXT} are read. Shorten it",
                f"“不希望出现”一栏有 {len(self.negative)} 个字符；最多读取 {MAX_TEXT} 个。请缩短",
            )
        bounds = (
            ("number of pictures", len(self.asks), 1, MAX_NUM),
            ("number of steps", self.steps, 1, MAX_STEPS),
            ("guidance", self.guidance, 1.0, MAX_GUIDANCE),
            *(("guidance", ask.guidance, 1.0, MAX_GUIDANCE) for ask in self.asks if ask.guidance is not None),
        )
        for what, value, low, high in bounds:
            if not low <= value <= high:
                raise Refusal(
                    f"The {what} is {value}; expected {low} to {high}",
                    f"{name_of(f'The {what}')}为 {value}；应为 {low} 至 {high}",
                )

    def guidance_of(self, ask: Ask) -> float:
        """The guidance that one picture is drawn with."""
        return self.guidance if ask.guidance is None else ask.guidance

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(row: dict[str, Any]) -> Order:
        return Order(**{**row, "asks": tuple(Ask(**ask) for ask in row["asks"])})


def _check_ask(ask: Ask) -> None:
    if not clean(ask.prompt):
        raise Refusal(
            "The prompt is empty; describe the picture, for instance 'Chest CT with a nodule on the left.'",
            "描述为空；请描述图像，例如“胸部CT，左肺可见结节。”",
        )
    if len(ask.prompt) > MAX_TEXT:
        raise Refusal(
            f"The prompt has {len(ask.prompt)} characters; at most {MAX_TEXT} are read. Shorten it",
            f"描述有 {len(ask.prompt)} 个字符；最多读取 {MAX_TEXT} 个。请缩短",
        )
    if ask.modality is not None:
        find_modality(ask.modality)
    elif modality_in(ask.prompt) is None:
        raise Refusal(
            f"The prompt names no modality; name one in it ({', '.join(MODALITIES)}) or choose one under 'Modality'",
            f"描述中没有说明成像方式；请在描述中写明（{term(', '.join(MODALITIES), 'zh')}），或在“成像方式”中选择",
        )
    if not 0 <= ask.seed <= MAX_SEED:
        raise Refusal(f"The seed is {ask.seed}; expected 0 to {MAX_SEED}", f"种子为 {ask.seed}；应为 0 至 {MAX_SEED}")


def asks_of(prompt: str, *, num: int, seed: int, modality: str | None = None) -> tuple[Ask, ...]:
    """`num` pictures of one prompt. The first has the seed itself, so that any picture's seed draws it again alone."""
    if not 1 <= num <= MAX_NUM:
        raise Refusal(
            f"The number of pictures is {num}; expected 1 to {MAX_NUM}", f"图像数量为 {num}；应为 1 至 {MAX_NUM}"
        )
    rest = (sample_seed(seed, prompt, i) % SHORT_SEED for i in range(1, num))
    return tuple(Ask(prompt=prompt, seed=each, modality=modality) for each in (seed, *rest))


def recalled(path: Path) -> tuple[Order, dict[str, Any]]:
    """The order that draws a PNG's picture again, and its recipe. ValueError where the file holds none."""
    try:
        recipe = read_recipe(path)
        return order_of(recipe), recipe
    except (
        OSError, SyntaxError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError,
        Image.DecompressionBombError,
    ) as error:  # fmt: skip
        raise Refusal(
            f"{path.name}: not a PNG with a Vesalius recipe ({type(error).__name__})",
            f"{path.name}：不是带有 Vesalius 设置的 PNG（{type(error).__name__}）",
        ) from None


def order_of(recipe: dict[str, Any]) -> Order:
    """The order of one picture's recipe. KeyError or TypeError where it is none, ValueError where it cannot be."""
    ask = Ask(
        prompt=str(recipe["text"]), modality=find_modality(str(recipe["modality"])).name, seed=int(recipe["seed"])
    )
    return Order(
        asks=(ask,), steps=int(recipe["steps"]), guidance=float(recipe["guidance"]),
        negative=str(recipe.get("negative", "")),
    )  # fmt: skip
