"""The lines that draw a picture of the page again, for a shell and for Python. They name base and adapters as they are
known to people, without the folders of this machine."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import PurePath

from vesalius.demo.page import LABEL
from vesalius.inference.sample import Sample
from vesalius.models.adapters.mix import parse_adapters


def adapters_told(words: Sequence[str]) -> tuple[str, ...]:
    """Adapters as a line names them: the last part of each path, and its weight."""
    shares = parse_adapters(tuple(words))
    return tuple(PurePath(s.adapter).name + ("" if s.weight == 1 else f":{s.weight:g}") for s in shares)


def shell_line(sample: Sample, base: str, adapters: Sequence[str] = ()) -> str:
    """One line for a POSIX shell; base and adapters lie in the folder where it runs, or are embedded."""
    words = [
        "python", "-m", "vesalius.demo.about.repeat", f"--seed={sample.seed}", f"--modality={sample.modality}",
        f"--steps={sample.steps}", f"--guidance={sample.guidance!r}", f"--base={base}",
    ]  # fmt: skip
    words += [f"--negative={sample.negative}"] if sample.negative else []
    words += ["--adapter", *adapters] if adapters else []
    return shlex.join([*words, "--out=again.png", "--", sample.text])


def python_lines(sample: Sample, base: str, adapters: Sequence[str] = ()) -> str:
    """A script of a few lines. Its `picture.image` has the pixels of the page's picture."""
    settings = f"steps={sample.steps}, guidance={sample.guidance!r}, negative={sample.negative!r}"
    return f"""\
from pathlib import Path

from vesalius.data.images.image import write_png
from vesalius.inference.generator import Generator
from vesalius.inference.request import Request

generator = Generator({base!r}, {tuple(adapters)!r})
request = Request(prompt={sample.text!r}, seed={sample.seed}, modality={sample.modality!r})
((_, picture),) = generator.draw_all([request], {settings})
recipe = generator.sample_of(request, {settings}).recipe()
write_png(Path("again.png"), picture.image, recipe)  # {LABEL}
"""
