"""Writes the reference: `python -m vesalius.cli.reference.write docs/reference`. A test compares it with what is there.

Pages are committed, so that they can be read where the code is, and cannot drift: they are made of the fields and
docstrings of which `--help` is made too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from vesalius.cli.reference.commands import GROUPS, group_page, modules_page
from vesalius.cli.reference.files import environment_page, files_page
from vesalius.cli.reference.python import STAGES, stage_page

PAGES: dict[str, Callable[[], str]] = {
    **{f"commands-{name}.md": partial(group_page, name) for name in GROUPS},
    "commands-modules.md": modules_page,
    **{f"python-{stage}.md": partial(stage_page, stage) for stage in STAGES},
    "files.md": files_page,
    "environment.md": environment_page,
}
"""File name -> what makes its text."""


def pages() -> dict[str, str]:
    """All pages of the reference by their file names, with an index."""
    made = {name: make().rstrip() + "\n" for name, make in PAGES.items()}
    titles = {name: text.splitlines()[0].removeprefix("# ") for name, text in made.items()}
    lines = [
        "# Reference", "",
        "Made from the code by `python -m vesalius.cli.reference.write docs/reference`; a test compares the two.",
        "`vesalius VERB --help` says the same of a verb.",
    ]  # fmt: skip
    for heading, begin in (("The command", "commands-"), ("In Python", "python-"), ("Between stages", "")):
        mine = [name for name in made if name.startswith(begin) and (begin or "-" not in name)]
        lines += ["", f"## {heading}", "", *(f"- [{titles[name]}]({name})" for name in mine)]
    return {"index.md": "\n".join(lines) + "\n", **made}


def main(folder: Path) -> None:
    """Write all pages; those that are none any more go."""
    folder.mkdir(parents=True, exist_ok=True)
    made = pages()
    for old in {p.name for p in folder.glob("*.md")} - made.keys():
        (folder / old).unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
