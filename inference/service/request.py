"""From the body of a request, in the words of OpenAI's images API, to pictures to draw."""

from __future__ import annotations

import difflib
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vesalius.data.images.image import Shape
from vesalius.data.modality import MODALITIES, find_modality, modality_in
from vesalius.data.texts.prompt import clean
from vesalius.inference.request import MAX_GUIDANCE, Request, Sampling
from vesalius.inference.sample import sample_seed
from vesalius.inference.service.config import ServeConfig

if TYPE_CHECKING:
    from vesalius.inference.generator import Generator

MAX_TEXT = 2000
"""Most characters of a prompt, and of a negative prompt: some take a second to be cut into contexts."""
MAX_BODY = 64 * 1024
"""Most bytes of a body: both texts where every character is escaped, and the rest."""
MAX_SEED = 2**53 - 1
"""The largest whole number that every JSON reader holds exactly."""


class RequestError(Exception):
    """What a client can mend. param: the field at fault; code: for machines."""

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_value", status: int = 400) -> None:
        super().__init__(message)
        self.message, self.param, self.code, self.status = message, param, code, status


class Body(BaseModel):
    """The fields that a request may have. None is as good as not given."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    prompt: str
    model: str | None = None
    n: int | None = None
    size: str | None = None
    response_format: Literal["b64_json", "url"] | None = None
    user: str | None = None
    # Beyond OpenAI's:
    seed: Annotated[int | None, Field(ge=0, le=MAX_SEED)] = None
    steps: int | None = None
    guidance: Annotated[float | None, Field(ge=0, le=MAX_GUIDANCE, allow_inf_nan=False)] = None
    negative_prompt: str | None = None
    modality: str | None = None
    # OpenAI's, where they ask for what is so here anyway:
    quality: Literal["auto", "standard"] | None = None
    background: Literal["auto", "opaque"] | None = None
    moderation: Literal["auto", "low"] | None = None
    output_format: Literal["png"] | None = None
    stream: Literal[False] | None = None


@dataclass(frozen=True, kw_only=True)
class Order:
    """What one request asks for. seed: of the request, from which every picture has its own; size: height, width."""

    requests: tuple[Request, ...]
    sampling: Sampling
    seed: int
    size: Shape

    @property
    def modality(self) -> str:
        modality = self.requests[0].modality
        assert modality is not None
        return modality


def read_order(content: bytes, config: ServeConfig, generator: Generator, model: str) -> Order:
    """The order of a body in JSON. RequestError where it cannot be drawn.

    Its pictures are those of `Generator.draw` with the same prompt, number and seed.
    """
    body = _read_body(content)
    if body.model not in (None, model):
        raise RequestError(
            f"The model '{body.model[:60]}' does not exist; this service has '{model}'",
            "model", "model_not_found", 404,
        )  # fmt: skip
    if body.response_format == "url":
        raise RequestError("This service keeps no images, so they have no URL; ask for 'b64_json'", "response_format")
    texts = {"prompt": body.prompt, "negative_prompt": body.negative_prompt or ""}
    for name, text in texts.items():
        if len(text) > MAX_TEXT:
            raise RequestError(
                f"{name} has {len(text)} characters; at most {MAX_TEXT} are read", name, "string_above_max_length"
            )
    if not any(c.isprintable() and not c.isspace() for c in clean(body.prompt)):
        raise RequestError("prompt is empty; describe the image, for instance 'Chest CT with a nodule'", "prompt")
    num = _bounded("n", body.n, 1, config.max_images)
    steps = _bounded("steps", body.steps, generator.steps, config.max_steps)
    guidance = generator.guidance if body.guidance is None else body.guidance
    seed = secrets.randbelow(2**32) if body.seed is None else body.seed
    size = None if body.size in (None, "auto") else _read_size(body.size)
    modality = _modality(body)
    try:
        drawn_at = generator.check_size(size)
    except ValueError as error:
        raise RequestError(f"{error} (in OpenAI's words size is WIDTHxHEIGHT)", "size") from None
    return Order(
        requests=tuple(
            Request(prompt=body.prompt, seed=sample_seed(seed, body.prompt, i), modality=modality, size=size)
            for i in range(num)
        ),
        sampling=Sampling(steps=steps, guidance=guidance, negative=texts["negative_prompt"]),
        seed=seed,
        size=drawn_at,
    )


def _read_body(content: bytes) -> Body:
    try:
        return Body.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    kind, message = first["type"], first["msg"]
    param = str(first["loc"][0])[:60] if first["loc"] else None
    if param is None:
        raise RequestError(f"The body is no JSON object of a request: {message}", None, "invalid_json")
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(param, Body.model_fields, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise RequestError(f"Unknown parameter: '{param}'{hint}", param, "unknown_parameter")
    if kind == "missing":
        raise RequestError(f"Missing required parameter: '{param}'", param, "missing_required_parameter")
    raise RequestError(f"{param}: {message}", param, "invalid_type" if kind.endswith("_type") else "invalid_value")


def _bounded(name: str, value: int | None, usual: int, most: int) -> int:
    if value is None:
        return usual
    if not 1 <= value <= most:
        code = "integer_below_min_value" if value < 1 else "integer_above_max_value"
        raise RequestError(f"{name} is out of bounds; expected 1 to {most}", name, code)
    return value


def _read_size(text: str | None) -> Shape:
    found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text or "")
    if found is None:
        raise RequestError("size: expected WIDTHxHEIGHT in pixels, such as '128x128', or 'auto'", "size")
    return int(found[2]), int(found[1])


def _modality(body: Body) -> str:
    if body.modality is not None:
        try:
            return find_modality(body.modality[:60]).name
        except ValueError as error:
            raise RequestError(str(error), "modality") from None
    found = modality_in(body.prompt)
    if found is None:
        raise RequestError(
            f"The prompt names no modality; name one in it ({', '.join(MODALITIES)}) or give the field 'modality'",
            "prompt",
        )
    return found.name
