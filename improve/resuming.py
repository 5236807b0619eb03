"""Taking a loop up again by its folder alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from vesalius.data.record import read_state
from vesalius.improve.config import ImproveConfig, ResumeConfig


def settled_config(config: ResumeConfig) -> tuple[ImproveConfig, Path]:
    """The configuration that a loop's folder settles, and the folder that its relative paths are meant from.

    That is the working folder of the line that began the loop: where the folder's own path ends as its `out` does, what
    comes before; else the present working folder. ValueError where the folder holds no loop, one of another release, or
    its data is found from neither.
    """
    path = config.folder / "config.json"
    if not path.is_file():
        raise ValueError(
            f"{config.folder}: no loop there; begin one with `vesalius improve run RECIPE.toml --out {config.folder}`"
        )
    told = read_state(path, "give the loop's whole line again")
    fields = {f.name for f in dataclasses.fields(ImproveConfig)}
    if unknown := sorted(told.keys() - fields):
        raise ValueError(f"{path}: tells of '{unknown[0]}', which this release does not know; resume with the other")
    try:
        former = ImproveConfig(**told)
    except TypeError as error:
        raise ValueError(f"{path}: is no configuration of a loop ({error}); give the loop's whole line") from None
    root = root_of(config.folder, former)
    out = former.out if (root / former.out).resolve() == config.folder.resolve() else config.folder.resolve()
    budget, price = config.budget or former.budget, config.price or former.price
    return dataclasses.replace(former, out=out, budget=budget, price=price, json=config.json, dry_run=False), root


def root_of(folder: Path, former: ImproveConfig) -> Path:
    """The folder from which the data of a loop is found. ValueError where it is from none."""
    here, place, parts = Path.cwd(), folder.resolve(), former.out.parts
    roots = [here]
    if not former.out.is_absolute() and place.parts[-len(parts) :] == parts:
        roots.insert(0, Path(*place.parts[: -len(parts)]))
    for root in roots:
        if all((root / path).exists() for path in former.data):
            return root
    lacking = next(path for path in former.data if not (roots[0] / path).exists())
    raise ValueError(
        f"{folder}: its data '{lacking}' is not there from {' or '.join(map(str, roots))}; go to the folder where the "
        "loop was begun, and give the same line"
    )
