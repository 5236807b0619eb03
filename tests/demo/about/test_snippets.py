"""The lines of 'About' draw the very picture again; cards of bases are shown as words."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vesalius.data.images.image import read_image
from vesalius.demo.about.cards import cards_of, licence_of, shown
from vesalius.demo.about.repeat import RepeatConfig, repeat
from vesalius.demo.about.snippets import adapters_told, python_lines, shell_line
from vesalius.demo.config import DemoConfig
from vesalius.demo.create.settings import order_from
from vesalius.demo.store.accounts import LOCAL
from vesalius.demo.store.jobs import add_job
from vesalius.demo.store.pictures import StoredPicture, file_of, pictures_of_job

PROMPT = 'Chest CT with a nodule\'s shadow in the left lung; $(rm -rf ~) "quoted".'


@pytest.fixture(scope="module")
def drawn(served: Any) -> StoredPicture:
    import time

    order = order_from(PROMPT, "CT", 1, 77, 2, 2.5, "effusion")
    job = add_job(served.desk.store, LOCAL, order, max_jobs=99, max_queue=99)
    end = time.monotonic() + 60
    while not (found := pictures_of_job(served.desk.store, LOCAL, job.id)):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found[0]


def test_the_shell_line_draws_the_same_bytes(
    served: Any, drawn: StoredPicture, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tyro

    line = shell_line(drawn.sample, served.desk.model.base)
    assert str(tiny_base.parent) not in line
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "vesalius.demo.about.repeat"]
    monkeypatch.chdir(tiny_base.parent)
    config = tyro.cli(RepeatConfig, args=words[3:])
    with contextlib.redirect_stdout(None):
        repeat(config)
    again = (tiny_base.parent / "again.png").read_bytes()
    assert again == file_of(served.desk.store, drawn).read_bytes()


def test_the_python_lines_draw_the_same_pixels(
    served: Any, drawn: StoredPicture, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_base.parent)
    (tiny_base.parent / "again.png").unlink(missing_ok=True)
    exec(python_lines(drawn.sample, served.desk.model.base), {})  # the very text that the page shows
    again = read_image(tiny_base.parent / "again.png")
    assert np.array_equal(again, read_image(file_of(served.desk.store, drawn)))


def test_the_downloaded_file_itself_is_enough(
    served: Any, drawn: StoredPicture, tiny_base: Path, tmp_path: Path
) -> None:
    repeat(RepeatConfig(recipe=file_of(served.desk.store, drawn), out=tmp_path / "a.png", base=str(tiny_base)))
    assert (tmp_path / "a.png").read_bytes() == file_of(served.desk.store, drawn).read_bytes()


def test_lines_name_adapters_without_folders() -> None:
    assert adapters_told(("nano-fast:0.7", "/home/someone/secret/run")) == ("nano-fast:0.7", "run")


def test_cards_of_base_and_adapters_are_shown_without_markup_of_their_own(tmp_path: Path) -> None:
    nano, fast = cards_of(DemoConfig(base="nano", adapter=("nano-fast",)))
    assert (nano[0], licence_of(nano[1])) == ("nano", "apache-2.0")
    assert "license:" not in shown(nano[1])
    assert "not for diagnosis" in shown(fast[1])
    bad = "---\nlicense: mit\n---\n# Own\n<script>alert(1)</script> ![x](http://a/b.png) [here](../../etc/passwd)"
    assert shown(bad) == "### Own\n&lt;script>alert(1)&lt;/script>  here"
    assert licence_of("# no front matter") == ""
    (tmp_path / "run").mkdir()
    assert cards_of(DemoConfig(base="nano", adapter=(str(tmp_path / "run"),)))[1] == ("run", "")
