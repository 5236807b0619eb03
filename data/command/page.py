"""Pages for people: HTML files that hold all they show, in one style (`page.html`)."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Any

from vesalius.data.record import write_atomic


def write_html(path: Path, package: str, template: str, **shown: Any) -> None:
    """Render a template of a package, which extends `page.html`, and write it whole. All text is escaped; a name that
    the template asks for and nobody gives is an error."""
    import jinja2

    sources = {"page.html": ("vesalius.data.command", "page.html"), template: (package, template)}
    texts = {n: (importlib.resources.files(where) / file).read_text("utf-8") for n, (where, file) in sources.items()}
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(texts), autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, environment.get_template(template).render(**shown).encode())
