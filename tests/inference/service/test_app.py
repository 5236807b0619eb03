"""The image service as its clients see it: a real server, a real (tiny) base, and OpenAI's own client."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from vesalius.data.images.image import Picture
from vesalius.inference.generator import Generator
from vesalius.inference.request import Request
from vesalius.inference.service.app import Service
from vesalius.inference.service.config import ServeConfig
from vesalius.inference.service.listening import Server, listen, url_of
from vesalius.inference.service.request import MAX_BODY, MAX_TEXT

PROMPT = "Chest CT with a nodule in the left lung."
STEPS = {"steps": 2}


@dataclass(frozen=True, kw_only=True)
class Served:
    """A service that listens."""

    url: str
    server: Server
    service: Service

    def client(self, key: str = "none", **more: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, **more)

    def draw(self, prompt: str = PROMPT, *, extra: dict[str, Any] | None = None, **more: Any) -> Any:
        with self.client() as client:
            return client.images.generate(prompt=prompt, extra_body={**STEPS, **(extra or {})}, **more)

    def post(self, **fields: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/images/generations", json={"prompt": PROMPT, **STEPS, **fields}, timeout=60)

    def metric(self, name: str, **labels: str) -> float:
        text = httpx.get(f"{self.url}/metrics").text
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        (value,) = (s.value for s in samples if s.name == name and s.labels == labels)
        return value


@contextmanager
def serving(generator: Generator, key: str | None = None, **changes: Any) -> Iterator[Served]:
    config = ServeConfig(**{"base": generator.base.name, "port": 0, "timeout": 60.0, **changes})
    place = listen(config, key)
    service = Service(generator, config, key)
    server = Server(service)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
    url = url_of(place)
    thread.start()
    until(lambda: server.started)
    try:
        yield Served(url=url, server=server, service=service)
    finally:
        server.stopping = True
        thread.join(timeout=30)
        assert not thread.is_alive()


def until(true: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def pixels(answer: Any) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(opened(image)).astype(int) for image in answer.data]


def opened(image: Any) -> Any:
    picture = Image.open(io.BytesIO(base64.b64decode(image.b64_json)))
    picture.load()
    return picture


@dataclass(eq=False)
class Gated:
    """A generator whose drawing waits at a gate, so that a test decides what happens meanwhile."""

    generator: Generator
    gate: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    asked: list[list[Request]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.generator, name)

    def draw_all(self, requests: list[Request], **how: Any) -> Iterator[tuple[Request, Picture]]:
        self.asked.append(list(requests))
        self.begun.set()
        assert self.gate.wait(timeout=30)
        yield from self.generator.draw_all(requests, **how)


@pytest.fixture(scope="module")
def generator(tiny_base: Path) -> Generator:
    return Generator(str(tiny_base), device="cpu")


@pytest.fixture(scope="module")
def served(generator: Generator) -> Iterator[Served]:
    with serving(generator) as service:
        yield service


@pytest.fixture
def gated(generator: Generator) -> Iterator[Gated]:
    found = Gated(generator)
    yield found
    found.gate.set()


def test_images_are_those_of_the_generator_and_say_that_they_are_synthetic(
    served: Served, generator: Generator
) -> None:
    answer = served.draw(n=2, size="48x32", response_format="b64_json", user="u", extra={"seed": 7, "guidance": 2.5})
    drawn = generator.draw(PROMPT, num=2, seed=7, steps=2, guidance=2.5, size=(32, 48))
    for got, want in zip(pixels(answer), drawn, strict=True):
        assert got.shape == (32, 48)
        assert np.abs(got - want[..., 0].astype(int)).max() <= 1
    assert (answer.synthetic, answer.seed, answer.size, answer.output_format) == (True, 7, "48x32", "png")
    assert answer.notice == "Synthetic: not for diagnosis"
    for image in answer.data:
        text = opened(image).text
        assert text["Comment"] == "Synthetic: not for diagnosis"
        recipe = json.loads(text["vesalius"])
        assert (recipe["seed"], recipe["steps"], recipe["guidance"]) == (image.seed, 2, 2.5)
        assert (recipe["text"], recipe["modality"], recipe["height"], recipe["width"]) == (PROMPT, "CT", 32, 48)
        assert recipe["base"] == Path(generator.base.name).name, "no folder of the machine"


def test_a_seed_repeats_and_without_one_every_answer_is_another(served: Served) -> None:
    first, again, other, without = (served.draw(extra=e) for e in ({"seed": 3}, {"seed": 3}, {"seed": 4}, {}))
    assert np.array_equal(pixels(first)[0], pixels(again)[0])
    assert not np.array_equal(pixels(first)[0], pixels(other)[0])
    repeated = served.draw(extra={"seed": without.seed})
    assert np.array_equal(pixels(without)[0], pixels(repeated)[0])
    assert served.draw().seed != without.seed


def test_the_fields_beyond_those_of_openai_change_the_image(served: Served) -> None:
    plain, *changed = (
        served.draw(extra={"seed": 1, **extra})
        for extra in ({}, {"steps": 3}, {"guidance": 9}, {"negative_prompt": "a mass"}, {"modality": "pathology"})
    )
    assert all(not np.array_equal(pixels(plain)[0], pixels(c)[0]) for c in changed)
    assert opened(changed[-1].data[0]).mode == "RGB"
    assert served.draw("A nodule.", extra={"modality": "MR"}).data


def test_models_and_health_are_told(served: Served) -> None:
    with served.client() as client:
        (model,) = client.models.list().data
        assert client.models.retrieve(model.id) == model
        assert served.draw(model=model.id).model == model.id
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            client.models.retrieve("dall-e-3")
    assert httpx.get(f"{served.url}/health").json() == {"status": "ok"}
    assert served.service.model == "tiny"


BAD: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "an empty prompt": ({"prompt": " \n"}, "prompt", "empty"),
    "marks alone": ({"prompt": "___"}, "prompt", "empty"),
    "a long prompt": ({"prompt": "CT " * MAX_TEXT}, "prompt", f"at most {MAX_TEXT}"),
    "a megabyte": ({"prompt": "CT " * 350_000}, None, f"at most {MAX_BODY} bytes"),
    "a long negative prompt": ({"negative_prompt": "x" * (MAX_TEXT + 1)}, "negative_prompt", f"at most {MAX_TEXT}"),
    "no prompt": ({"prompt": None}, "prompt", "valid string"),
    "a prompt that is a number": ({"prompt": 5}, "prompt", "valid string"),
    "no modality": ({"prompt": "A nodule."}, "prompt", "names no modality"),
    "another modality": ({"modality": "telepathy"}, "modality", "not known"),
    "an odd size": ({"size": "33x32"}, "size", "draws edges of"),
    "a large size": ({"size": "4096x4096"}, "size", "draws edges of"),
    "a size that is none": ({"size": "large"}, "size", "WIDTHxHEIGHT"),
    "a size of nothing": ({"size": "0x0"}, "size", "WIDTHxHEIGHT"),
    "no images": ({"n": 0}, "n", "1 to 10"),
    "too many images": ({"n": 11}, "n", "1 to 10"),
    "images that are true": ({"n": True}, "n", "valid integer"),
    "half an image": ({"n": 1.5}, "n", "integer"),
    "no steps": ({"steps": 0}, "steps", "1 to 100"),
    "too many steps": ({"steps": 10_000}, "steps", "1 to 100"),
    "steps as text": ({"steps": "20"}, "steps", "valid integer"),
    "negative guidance": ({"guidance": -1}, "guidance", "greater than or equal to 0"),
    "a negative seed": ({"seed": -1}, "seed", "greater than or equal to 0"),
    "a huge seed": ({"seed": 10**300}, "seed", ""),
    "URLs": ({"response_format": "url"}, "response_format", "b64_json"),
    "a format that is none": ({"response_format": "tiff"}, "response_format", "b64_json"),
    "JPEG": ({"output_format": "jpeg"}, "output_format", "png"),
    "a stream": ({"stream": True}, "stream", "False"),
    "a misspelt field": ({"guidence": 3}, "guidence", "did you mean 'guidance'"),
    "a list of models": ({"model": ["tiny"]}, "model", "valid string"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_drawn_is_refused_in_the_words_of_openai(served: Served, name: str) -> None:
    fields, param, words = BAD[name]
    before = served.metric("vesalius_requests_total", outcome="invalid")
    answer = served.post(**fields)
    error = answer.json()["error"]
    assert (answer.status_code, set(error)) == (400, {"message", "type", "param", "code"})
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert words in error["message"]
    assert len(error["message"]) < 500
    assert served.metric("vesalius_requests_total", outcome="invalid") == before + 1


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"{}", b"[]", b"null", b'"CT"', b"\xff\xfe", b"[" * 100_000, b'{"prompt": "CT \\ud800"}',
        b'{"prompt": "CT", "guidance": NaN}', b'{"prompt": "CT", "guidance": Infinity}',
        b'{"prompt": "CT", "guidance": 1e999}', b'{"prompt": "CT", "seed": ' + b"9" * 10_000 + b"}",
        b'{"prompt": "CT", "a\\u0000": NaN}',
    ],
)  # fmt: skip
def test_bodies_that_are_no_request_are_refused_and_the_service_goes_on(served: Served, body: bytes) -> None:
    where = f"{served.url}/v1/images/generations"
    answer = httpx.post(where, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "Traceback" not in answer.text
    assert served.draw(extra={"seed": 1, "steps": 1}).data


def test_a_form_of_another_site_is_refused(served: Served) -> None:
    answer = httpx.post(f"{served.url}/v1/images/generations", content=b'{"prompt": "CT"}')
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no_json")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("GET", "/v1/images/generations", 405)])
def test_other_addresses_are_told_as_openai_tells_errors(served: Served, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, served.url + path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, "unknown_url")


def test_openai_raises_its_own_errors(served: Served) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        served.draw(n=0)
    assert (refused.value.param, refused.value.code) == ("n", "integer_below_min_value")


def test_eight_clients_are_drawn_together_and_get_what_each_would_alone(generator: Generator) -> None:
    with serving(generator, batch_wait_ms=500) as served, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda seed: served.draw(extra={"seed": seed}), range(8)))
        assert served.metric("vesalius_images_total") == 8
        assert served.metric("vesalius_wait_seconds_count") == 8
        assert served.metric("vesalius_draw_seconds_count") <= 3
        assert served.metric("vesalius_requests_total", outcome="ok") == 8
    for seed, answer in enumerate(answers):
        (alone,) = generator.draw(PROMPT, seed=seed, steps=2)
        assert np.abs(pixels(answer)[0] - alone[..., 0].astype(int)).max() <= 1


def test_other_settings_are_drawn_apart(generator: Generator) -> None:
    settings = ({}, {"steps": 3}, {"guidance": 1.0}, {"negative_prompt": "mass"})
    with serving(generator, batch_wait_ms=200) as served, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda extra: served.draw(extra=extra), settings))
        assert served.metric("vesalius_draw_seconds_count") == 4


def test_a_full_queue_says_when_to_come_back(gated: Gated) -> None:
    with (
        serving(gated, batch_size=1, max_queue=2, max_images=2) as served,  # type: ignore[arg-type]
        ThreadPoolExecutor(2) as pool,
    ):
        first = pool.submit(served.post)
        assert gated.begun.wait(30)
        second = pool.submit(served.post, n=2)
        until(lambda: served.metric("vesalius_queue_images") == 2)
        with pytest.raises(openai.RateLimitError) as full:
            served.draw()
        assert int(full.value.response.headers["retry-after"]) >= 1
        assert full.value.code == "queue_full"
        gated.gate.set()
        assert (first.result().status_code, second.result().status_code) == (200, 200)
        assert served.metric("vesalius_requests_total", outcome="full") == 1


def test_a_request_is_given_up_in_time_and_what_waits_is_not_drawn(gated: Gated) -> None:
    with serving(gated, batch_size=1, timeout=0.3) as served:  # type: ignore[arg-type]
        with pytest.raises(openai.InternalServerError) as late:
            served.draw(n=3)
        assert (late.value.status_code, late.value.code) == (504, "timeout")
        gated.gate.set()
        until(lambda: served.service.batcher.idle)
        assert len(gated.asked) == 1
        assert served.metric("vesalius_requests_total", outcome="timeout") == 1


def test_what_a_client_that_has_gone_asked_for_is_not_drawn(gated: Gated) -> None:
    with serving(gated, batch_size=1) as served, ThreadPoolExecutor(1) as pool:  # type: ignore[arg-type]
        first = pool.submit(served.post, seed=1)
        assert gated.begun.wait(30)
        body = json.dumps({"prompt": PROMPT, "n": 4, "seed": 2}).encode()
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            head = f"POST /v1/images/generations HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            until(lambda: served.metric("vesalius_queue_images") == 4)
        until(lambda: served.metric("vesalius_requests_total", outcome="disconnected") == 1)
        assert served.metric("vesalius_queue_images") == 0
        gated.gate.set()
        assert first.result().status_code == 200
        until(lambda: served.service.batcher.idle)
        assert len(gated.asked) == 1
        assert served.post(seed=3).status_code == 200


def test_one_that_cannot_be_drawn_spoils_no_other(generator: Generator) -> None:
    class Broken(Gated):
        def draw_all(self, requests: list[Request], **how: Any) -> Iterator[tuple[Request, Picture]]:
            if any("worst" in r.prompt for r in requests):
                raise RuntimeError("a secret of the machine")
            if any("bad" in r.prompt for r in requests):
                raise ValueError("draws values that are not numbers")
            yield from self.generator.draw_all(requests, **how)

    with serving(Broken(generator), batch_wait_ms=300) as served, ThreadPoolExecutor(6) as pool:  # type: ignore[arg-type]
        prompts = ["Chest CT.", "Bad CT, a bad one.", "CT, the worst one.", "Brain CT.", "CT.", "A CT."]
        answers = list(pool.map(lambda p: served.post(prompt=p), prompts))
        assert [a.status_code for a in answers] == [200, 400, 500, 200, 200, 200]
        assert "secret" not in answers[2].text
        assert "not numbers" in answers[1].json()["error"]["message"]


def test_a_key_is_asked_for_and_nothing_is_read_without(generator: Generator) -> None:
    with serving(generator, key="clé-0123456789") as served:
        for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic clé-0123456789".encode()}):
            for method, path in (("POST", "/v1/images/generations"), ("GET", "/v1/models"), ("GET", "/metrics")):
                answer = httpx.request(method, served.url + path, headers=header)
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key"), path
                assert answer.headers["www-authenticate"] == "Bearer"
                assert "0123456789" not in answer.text
        with served.client("wrong") as client, pytest.raises(openai.AuthenticationError):
            client.models.list()
        right = {"Authorization": "Bearer clé-0123456789".encode()}
        answer = httpx.post(
            f"{served.url}/v1/images/generations", json={"prompt": PROMPT, **STEPS}, headers=right, timeout=60
        )
        assert answer.status_code == 200
        assert httpx.get(f"{served.url}/health").status_code == 200


def test_a_service_that_closes_draws_what_it_accepted_and_refuses_the_rest(gated: Gated) -> None:
    with serving(gated, batch_size=1) as served, ThreadPoolExecutor(1) as pool:  # type: ignore[arg-type]
        first = pool.submit(served.post, n=3)
        assert gated.begun.wait(30)
        served.server.handle_exit(15, None)
        until(lambda: served.service.closing)
        assert served.post().status_code == 503
        assert httpx.get(f"{served.url}/health").status_code == 503
        gated.gate.set()
        assert len(first.result().json()["data"]) == 3
        until(lambda: served.server.should_exit)
