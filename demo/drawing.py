"""From what the page asks for to pictures with their recipes, and back from a recipe; knows nothing of the browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from vesalius.data.image import png_bytes, read_recipe
from vesalius.data.modality import MODALITIES, find_modality, modality_in
from vesalius.data.prompt import clean
from vesalius.inference.request import Request
from vesalius.inference.sample import Sample, sample_seed

if TYPE_CHECKING:
    from vesalius.inference.generator import Generator

MAX_NUM, MAX_STEPS, MAX_GUIDANCE, MAX_TEXT = 8, 100, 15.0, 4000
MAX_SEED = 2**48 - 1
"""The largest seed that `sample_seed` makes; a browser's numbers hold it exactly."""
SHORT_SEED = 1_000_000_000
"""Seeds that the page makes are below it, so that a teacher can read one aloud."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What one press of the button asks for. modality None: the prompt says it. seed: of the first picture."""

    prompt: str
    modality: str | None = None
    num: int = 1
    seed: int = 0
    steps: int
    guidance: float
    negative: str = ""

    def __post_init__(self) -> None:
        """ValueError in the page's words where the order cannot be drawn."""
        if not clean(self.prompt):
            raise ValueError(
                "The prompt is empty; describe the picture, for instance 'Chest CT with a nodule on the left.'"
            )
        for what, text in (("prompt", self.prompt), ("negative prompt", self.negative)):
            if len(text) > MAX_TEXT:
                raise ValueError(f"The {what} has {len(text)} characters; at most {MAX_TEXT} are read. Shorten it")
        if self.modality is None and modality_in(self.prompt) is None:
            raise ValueError(
                f"The prompt names no modality; name one in it ({', '.join(MODALITIES)}) or choose one under 'Modality'"
            )
        if self.modality is not None:
            find_modality(self.modality)
        bounds = (
            ("number of pictures", self.num, 1, MAX_NUM),
            ("seed", self.seed, 0, MAX_SEED),
            ("number of steps", self.steps, 1, MAX_STEPS),
            ("guidance", self.guidance, 1.0, MAX_GUIDANCE),
        )
        for what, value, low, high in bounds:
            if not low <= value <= high:
                raise ValueError(f"The {what} is {value}; expected {low} to {high}")

    def requests(self) -> list[Request]:
        """One request a picture. The first has the order's own seed, so any picture's seed draws it again alone."""
        rest = (sample_seed(self.seed, self.prompt, i) % SHORT_SEED for i in range(1, self.num))
        return [Request(prompt=self.prompt, seed=seed, modality=self.modality) for seed in (self.seed, *rest)]


class Studio:
    """A generator that several visitors share, one picture at a time."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        # A stopped visitor's last picture may still be on its way when the next one starts, and a pipeline has state.
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Pixels along an edge of a picture."""
        return self.generator.base.image_size

    def draw(self, order: Order) -> Iterator[tuple[Sample, bytes]]:
        """The pictures of an order, each as it is ready: its sample, and a PNG with the sample's recipe inside."""
        generator = self.generator
        for request in order.requests():
            with self._lock:
                drawn = generator.draw_all(
                    [request], steps=order.steps, guidance=order.guidance, negative=order.negative
                )
                image = next(iter(drawn))[1].image
            sample = generator.sample_of(request, steps=order.steps, guidance=order.guidance, negative=order.negative)
            yield sample, png_bytes(image, sample.recipe())

    def recall(self, path: Path) -> tuple[Order, str]:
        """The order that draws a PNG's picture again, and a remark where this base or adapter is another one.

        ValueError where the file holds no recipe, or one that cannot be drawn.
        """
        try:
            recipe = read_recipe(path)
            order = order_of(recipe)
        except (
            OSError, SyntaxError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError,
            Image.DecompressionBombError,
        ) as error:  # fmt: skip
            raise ValueError(f"{path.name}: not a PNG with a Vesalius recipe ({type(error).__name__})") from None
        mine = (self.generator.base.digest, self.generator.adapter_digest)
        same = mine == (recipe.get("base_digest"), recipe.get("adapter_digest"))
        return (
            order,
            "" if same else "This picture was drawn with another base or adapter, so it will look different here.",
        )


def order_of(recipe: dict[str, Any]) -> Order:
    """The order of one picture's recipe. KeyError or TypeError where it is none, ValueError where it cannot be."""
    return Order(
        prompt=str(recipe["text"]), modality=find_modality(str(recipe["modality"])).name, seed=int(recipe["seed"]),
        steps=int(recipe["steps"]), guidance=float(recipe["guidance"]), negative=str(recipe.get("negative", "")),
    )  # fmt: skip
