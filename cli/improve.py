"""What the verbs of a loop say: a round, its approval, going back, and going on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from vesalius.cli.main import DONE, print_json
from vesalius.data.command.counted import counted

if TYPE_CHECKING:
    from vesalius.improve.config import ApproveConfig, ResumeConfig, RollbackConfig, ShowConfig


def show(config: ShowConfig) -> int:
    from vesalius.improve.telling.show import show_round

    facts = show_round(config.folder, config.round)
    if config.json:
        print_json(facts)
    else:
        print("\n".join(facts["lines"]))
    return DONE


def approve(config: ApproveConfig) -> int:
    from vesalius.improve.people.review import approve

    review = approve(config)
    if config.json:
        print_json(review)
        return DONE
    number, vetoes = review["round"], review["vetoes"]
    if review["unchanged"]:
        print(f"unchanged: round {number} was approved with {counted(len(vetoes), 'veto', 'vetoes')}")
    else:
        print(f"round {number}: {counted(review['accepted'], 'sample')} let in, {len(vetoes)} kept out")
    print(f"go on with: vesalius improve resume {config.folder}")
    return DONE


def rollback(config: RollbackConfig) -> int:
    from vesalius.improve.people.review import rollback
    from vesalius.improve.telling.status import was_read

    told = rollback(config)
    if config.json:
        print_json(told)
    elif told["unchanged"]:
        print(f"unchanged: the loop stands by round {told['champion']}")
    else:
        print(f"the loop stands by round {told['champion']} in place of {told['from']}; later rounds remain")
        print("the next round will be drawn with it; one that is under way keeps its samples")
        reading = was_read(config.folder)
        if reading is not None and reading["round"] != told["champion"]:
            print(f"test was read for round {reading['round']} and is not read again: its numbers are that one's")
    return DONE


def resume(config: ResumeConfig) -> int:
    from vesalius.cli.report import improve
    from vesalius.improve.resuming import settled_config

    former, root = settled_config(config)
    with contextlib.chdir(root):  # its paths are meant from there
        return improve(former)
