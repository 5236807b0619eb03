"""What `vesalius usefulness` says: a verdict for each share of the real patients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vesalius.cli.main import DONE, print_json
from vesalius.cli.plan import span

if TYPE_CHECKING:
    from vesalius.eval.usefulness.config import UsefulnessConfig


def usefulness(config: UsefulnessConfig) -> int:
    """Measure; with --dry-run only what that would take."""
    from vesalius.eval.usefulness.run import measure_usefulness

    result = measure_usefulness(config)
    if config.json:
        print_json(result)
        return DONE
    for line in result["warnings"]:
        print(f"warning: {line}")
    if config.dry_run:
        left, seconds = result["trainings"] - result["done"], result["seconds"]
        took = "how long is not known before one is finished" if seconds is None else f"about {span(seconds)}"
        print(
            f"would train {left} classifiers ({result['done']} are finished): {took}, on {result['num_train']} "
            f"{result['origin']} and {result['num_synthetic']} synthetic images, tested on {result['num_test']}"
        )
    else:
        for regime in result["regimes"]:
            harm = f" (harm: {', '.join(regime['harm'])})" if regime["harm"] else ""
            print(f"{100 * regime['share']:g} % of the {result['origin']} patients: {regime['verdict']}{harm}")
        print(f"report: {config.out / 'report.html'}")
    return DONE
