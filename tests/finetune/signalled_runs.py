"""Runs of `finetune` that are told to stop while they do one thing: signalled_runs.py RUNS

RUNS is a list as JSON of [MODULE, FUNCTION, SIGNAL, FLAGS]: each run of those flags gets the signal while that function
works, in a process that is forked from one that has all it needs. Prints the exit codes, in order.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

from vesalius.cli.main import DONE, main
from vesalius.data.command.ending import heed_signals


def signalled(module: str, function: str, number: int, flags: list[str]) -> int:
    """The exit code of a run that gets a signal while a function works."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        place = importlib.import_module(module)
        real = getattr(place, function)

        def slow(*words: Any, **named: Any) -> Any:
            """The same after a pause, so that the signal comes while it works."""
            os.write(writes, b"there")
            time.sleep(0.5)
            return real(*words, **named)

        setattr(place, function, slow)
        heed_signals()
        os._exit(main(["finetune", *flags]))
    os.close(writes)
    assert os.read(reads, 5) == b"there"
    os.kill(child, number)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(reads)
    return code


if __name__ == "__main__":
    runs = json.loads(sys.argv[1])
    assert main(["finetune", *runs[0][-1], "--dry-run"]) == DONE  # imports all that they need
    print(json.dumps([signalled(*run) for run in runs]))
