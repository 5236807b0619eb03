"""What `vesalius runs` says: one line for each run."""

from __future__ import annotations

import os

from vesalius.cli.main import DONE, print_json
from vesalius.finetune.running.runs import Run, RunsConfig, list_runs

COLUMNS = ("run", "state", "step", "best validation loss", "base", "size", "age")


def runs(config: RunsConfig) -> int:
    """Print the runs below some folders, newest first."""
    found = list_runs(config)
    if config.json:
        print_json({"runs": [vars(run) for run in found]})
        return DONE
    where = ", ".join(map(str, config.folders))
    if not found:
        print(f"no fine-tuning run below {where}")
    rows = [COLUMNS, *(cells(run) for run in found if run.state != "damaged")]
    if len(rows) > 1:
        widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
        for row in rows:
            print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    for run in found:
        if run.state == "damaged":
            print(f"damaged: {run.problem}")
    return DONE


def cells(run: Run) -> tuple[str, ...]:
    best = "" if run.best is None else f"{run.best:.4f} at step {run.best_step}"
    base = os.path.basename(run.base.rstrip("/")) if run.base.startswith(("/", ".", "~")) else run.base
    return str(run.path), run.state, f"{run.step}/{run.steps}", best, base, size(run.num_bytes), age(run.age)


def size(num_bytes: float) -> str:
    """Bytes for people, in powers of 1000."""
    for unit in ("B", "kB", "MB"):
        if num_bytes < 999.5:
            return f"{num_bytes:.0f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} GB"


def age(seconds: float) -> str:
    """A span of time for people, in its largest unit."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
