"""The demo as a browser sees it: a real server, a real (tiny) base, and gradio's own client."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image

from vesalius.data.image import read_image, read_recipe, write_png
from vesalius.data.modality import modality_in
from vesalius.demo import DemoConfig, build_app, launch
from vesalius.demo.app import EXAMPLES, LABEL, check_port, recipe_table, serve
from vesalius.demo.drawing import MAX_TEXT, Order, Studio
from vesalius.inference import Generator
from vesalius.inference.sample import Sample

PROMPT = "Chest CT with a nodule in the left lung."


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """A served demo and a client of it."""

    app: gr.Blocks
    url: str
    client: Client
    generator: Generator

    def draw(self, prompt: str = PROMPT, **changes: Any) -> tuple[list[Path], list[str], list[dict[str, Any]]]:
        """Files of the gallery, their captions, and the recipes beside them."""
        settings = {"modality": "from the prompt", "num": 1, "seed": 3, "steps": 2, "guidance": 3.0, "negative": ""}
        gallery, _, _, recipes = self.client.predict(prompt=prompt, **{**settings, **changes}, api_name="/draw")
        return [Path(g["image"]) for g in gallery], [g["caption"] for g in gallery], recipes


@pytest.fixture(scope="module")
def page(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        config = DemoConfig(base=str(tiny_base), port=free_port(), device="cpu")
        generator = Generator(config.base, device="cpu")
        app = build_app(config, generator)
        url = serve(app, config)
        client = Client(url, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))
        yield Page(app=app, url=url, client=client, generator=generator)
        client.close()
        app.close(verbose=False)


def get(url: str) -> tuple[str, dict[str, str]]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode(), {k.lower(): v for k, v in answer.headers.items()}


def test_an_order_comes_back_as_labelled_pictures_with_recipes(page: Page) -> None:
    paths, captions, recipes = page.draw(num=3)
    assert len(paths) == len(captions) == len(recipes) == 3
    assert {read_image(p).shape for p in paths} == {(32, 32, 1)}
    assert all(c.startswith(LABEL) for c in captions)
    assert all(r["synthetic"] and r["text"] == PROMPT and r["modality"] == "CT" for r in recipes)
    assert len({r["seed"] for r in recipes}) == 3


def test_a_pathology_prompt_comes_back_in_colour(page: Page) -> None:
    paths, _, recipes = page.draw("H&E tile with two glands.")
    assert read_image(paths[0]).shape == (32, 32, 3)
    assert recipes[0]["modality"] == "pathology"


def test_a_downloaded_png_carries_its_recipe_and_the_label(page: Page) -> None:
    paths, _, recipes = page.draw(negative="effusion", guidance=2.0)
    inside = read_recipe(paths[0])
    assert inside == {k: v for k, v in recipes[0].items() if k not in ("sha256", "raw16_sha256")}
    assert (inside["seed"], inside["steps"], inside["guidance"], inside["negative"]) == (3, 2, 2.0, "effusion")
    assert inside["base_digest"] == page.generator.base.digest
    assert inside["synthetic"] is True
    with Image.open(paths[0]) as image:
        assert image.text["Comment"] == LABEL  # type: ignore[attr-defined]


def test_no_folder_of_the_server_is_told(page: Page, tiny_base: Path) -> None:
    _, _, recipes = page.draw()
    assert recipes[0]["base"] == tiny_base.name
    assert str(tiny_base.parent) not in json.dumps(recipes) + get(page.url)[0] + get(f"{page.url}config")[0]


def test_the_same_seed_draws_the_same_picture_twice(page: Page) -> None:
    first, second, other = (page.draw(seed=s)[0][0].read_bytes() for s in (7, 7, 8))
    assert first == second
    assert first != other


def test_the_seed_of_any_picture_draws_it_again_alone(page: Page) -> None:
    paths, _, recipes = page.draw(num=3, seed=11)
    assert recipes[0]["seed"] == 11
    again = page.draw(num=1, seed=recipes[2]["seed"])[0][0]
    assert again.read_bytes() == paths[2].read_bytes()


def test_the_label_is_on_the_page_before_anything_is_drawn(page: Page) -> None:
    config, _ = get(f"{page.url}config")
    labels = [c for c in json.loads(config)["components"] if c["props"].get("elem_id") == "label"]
    assert len(labels) == 1
    assert LABEL in labels[0]["props"]["value"]
    assert LABEL in get(page.url)[0]


def test_the_page_allows_no_foreign_origin_and_sends_no_telemetry(page: Page) -> None:
    _, headers = get(page.url)
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert page.app.analytics_enabled is False
    assert page.app.share is False
    config = json.loads(get(f"{page.url}config")[0])
    assert config["run_history"] is False
    theme, _ = get(f"{page.url}theme.css")
    assert "@import" not in theme
    assert "url(http" not in theme.replace('"', "").replace("'", "")


def test_queue_and_uploads_are_bounded_and_pictures_expire(page: Page) -> None:
    assert page.app.max_file_size == 5 * 2**20
    assert page.app._queue.max_size == 16
    assert page.app.delete_cache == (60, 3600)
    draw = next(f for f in page.app.fns.values() if f.api_name == "draw")
    assert draw.concurrency_limit == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": "A nodule in the left lung."}, "names no modality.*choose one under 'Modality'"),
        ({"prompt": "  "}, "prompt is empty"),
        ({"prompt": "CT " + "x" * MAX_TEXT}, f"prompt has {MAX_TEXT + 3} characters; at most {MAX_TEXT}"),
        ({"negative": "x" * (MAX_TEXT + 1)}, "negative prompt has"),
        ({"num": 9}, "9"),
        ({"seed": -1}, "-1"),
        ({"seed": None}, "must be numbers"),
        ({"steps": 1000}, "1000"),
        ({"modality": "PET"}, "PET"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(page: Page, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AppError, match=message) as error:
        page.draw(**changes)
    assert "Traceback" not in str(error.value)


def test_a_chosen_modality_serves_a_prompt_without_one(page: Page) -> None:
    assert page.draw("A nodule in the left lung.", modality="MRI")[2][0]["modality"] == "MRI"


def test_a_stopped_order_leaves_the_next_one_untouched(page: Page) -> None:
    wanted = page.draw(seed=5)[0][0].read_bytes()
    job = page.client.submit(PROMPT, "from the prompt", 8, 1, 100, 3.0, "", api_name="/draw")
    while not job.outputs():
        assert not job.done()
        time.sleep(0.05)
    assert job.cancel()
    assert page.draw(seed=5)[0][0].read_bytes() == wanted


def test_every_example_names_its_modality() -> None:
    assert {getattr(modality_in(e), "name", None) for e in EXAMPLES} == {"CT", "MRI", "pathology"}


def test_a_recipe_table_shows_words_as_words() -> None:
    sample = Sample(file_name="a.png", text="<script>CT</script>", modality="CT", seed=1, steps=2, guidance=3.0)
    assert "<script>" not in recipe_table([sample], 1)
    assert "&lt;script&gt;" in recipe_table([sample], 1)
    assert "1 of 2" in recipe_table([sample], 2)


def test_a_png_recalls_the_order_that_drew_it(page: Page, tmp_path: Path) -> None:
    paths, _, recipes = page.draw(num=2, negative="effusion")
    order, remark = Studio(page.generator).recall(paths[1])
    assert order == Order(
        prompt=PROMPT, modality="CT", num=1, seed=recipes[1]["seed"], steps=2, guidance=3.0, negative="effusion"
    )
    assert remark == ""
    foreign = tmp_path / "foreign.png"
    write_png(foreign, read_image(paths[1]), {**recipes[1], "base_digest": "0" * 64})
    assert "another base" in Studio(page.generator).recall(foreign)[1]


@pytest.mark.parametrize("recipe", [None, {}, {"text": PROMPT}, {"text": PROMPT, "modality": "CT", "seed": 1e999}])
def test_a_png_without_a_whole_recipe_is_refused(page: Page, tmp_path: Path, recipe: dict[str, Any] | None) -> None:
    path = tmp_path / "plain.png"
    write_png(path, read_image(page.draw()[0][0]), recipe)
    with pytest.raises(ValueError, match="recipe"):
        Studio(page.generator).recall(path)


def test_an_uploaded_png_fills_the_settings(page: Page, tmp_path: Path) -> None:
    paths, _, recipes = page.draw("H&E tile with two glands.", num=2)
    recall = next(f.fn for f in page.app.fns.values() if getattr(f.fn, "__name__", "") == "recall")
    assert recall(str(paths[1])) == (recipes[1]["text"], "pathology", 1, recipes[1]["seed"], 2, 3.0, "")
    plain = tmp_path / "plain.png"
    write_png(plain, read_image(paths[1]))
    with pytest.raises(gr.Error, match="carries no Vesalius recipe"):
        recall(str(plain))


def test_a_file_that_is_no_png_recalls_nothing(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png: not a PNG"):
        Studio(page.generator).recall(path)


def test_a_taken_port_is_refused_before_a_model_is_loaded() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=rf"127\.0\.0\.1:{port} cannot be listened on .*--port"):
            launch(DemoConfig(base="no-such-base", port=port))


def test_a_free_port_is_not_refused() -> None:
    check_port(DemoConfig(port=free_port()))


@pytest.mark.parametrize("changes", [{"port": 0}, {"port": 70000}, {"max_queue": 0}, {"keep_minutes": 0}])
def test_a_configuration_that_cannot_be_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="--"):
        DemoConfig(**changes)  # type: ignore[arg-type]


def test_a_missing_base_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\./none"):
        build_app(DemoConfig(base="./none"))


def test_configuration_imports_neither_torch_nor_gradio() -> None:
    code = (
        "import sys; from vesalius.demo import DemoConfig; assert not {'torch', 'gradio', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})
