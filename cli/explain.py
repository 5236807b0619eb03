"""What `vesalius explain` says when it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vesalius.cli.main import DONE, print_json

if TYPE_CHECKING:
    from vesalius.eval.explanations.config import ExplainConfig


def explain(config: ExplainConfig) -> int:
    from vesalius.eval.explanations.run import explain

    result = explain(config)
    if config.json:
        print_json(result)
        return DONE
    for row in result["images"]:
        print(f"{row['image']}: {len(row['words'])} words, {len(row['findings'])} maps of findings")
        for note in row["notes"]:
            print(f"  note: {note}")
    print("nothing computed" if config.dry_run else f"page: {config.out / 'explanation.html'}")
    return DONE
