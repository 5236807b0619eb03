"""What the verbs of reader studies say when they are done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vesalius.cli.main import DONE, print_json

if TYPE_CHECKING:
    from vesalius.eval.readers.config import ReadersMakeConfig, ReadersScoreConfig


def make(config: ReadersMakeConfig) -> int:
    from vesalius.eval.readers.study import make_study

    summary = make_study(config)
    if config.json:
        print_json(summary)
        return DONE
    verb = "unchanged:" if summary.unchanged else "would show" if config.dry_run else "wrote"
    print(
        f"{verb} {summary.num} images and {summary.num_repeats} repeats at {summary.size} pixels, "
        f"{summary.num_bytes / 1e6:.1f} MB"
    )
    for name, count in list(summary.strata.items())[:20]:
        print(f"  {name}: {count // 2} real, {count // 2} synthetic")
    if len(summary.strata) > 20:
        print(f"  and {len(summary.strata) - 20} more")
    for note in summary.notes:
        print(f"note: {note}")
    if not config.dry_run:
        print(f"give readers this alone: {config.out / 'page' / 'index.html'}")
        print(f"keep to yourself: {config.out / 'key.json'}")
    return DONE


def score(config: ReadersScoreConfig) -> int:
    from vesalius.eval.readers.report import score_study

    result = score_study(config)
    if config.json:
        print_json(result)
        return DONE
    if config.dry_run:
        for name, row in result["readers"].items():
            print(f"{name}: {row['num']} answers fit the key")
        return DONE
    from vesalius.eval.readers.scores import verdict

    for name, row in result["readers"].items():
        if row["accuracy"]:
            print(f"{name}: {verdict(row['accuracy'])}")
    if result["all"]:
        print(f"all readers: {verdict(result['all']['accuracy'])}")
    print(f"report: {(config.out or config.study / 'scores') / 'readers.html'}")
    return DONE
