"""How a line ends: its exit code, and one plain sentence on what was wrong in place of a traceback.

Exit codes: 0 done, 2 usage or bad input, 3 a check found problems, 4 partly done, 75 stopped but the same line
continues.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

DONE = 0
"""done"""
USAGE = 2
"""usage or bad input; the message says what to mend"""
CHECK = 3
"""a check found problems: `data check`, `plan` of what does not fit, `adapter check`, `doctor`"""
PARTIAL = 4
"""partly done: some rows were set aside, or some pictures left out"""
RESUMABLE = 75
"""stopped by a signal or a budget, or waiting for a review; the same line continues"""

C = TypeVar("C")


class Stopped(KeyboardInterrupt):
    """A signal. Of KeyboardInterrupt itself Python remembers that it came while a string was executed, as dataclasses
    do on import, and ends by that signal in place of the exit code, though it was handled."""


def ended(work: Callable[[], int]) -> int:
    """The exit code of some work: its own, or that of what it raised, which is told on stderr."""
    try:
        return work()
    except ValueError as error:
        return fail(str(error))
    except MemoryError as error:
        return fail(f"not enough memory: {error}; lower --batch-size or the size of what is asked")
    except BrokenPipeError:  # the reader of the output has gone, as `head` does; what was written is whole
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return RESUMABLE
    except RuntimeError as error:
        if not ("out of memory" in str(error).lower() or "can't allocate memory" in str(error)):
            raise
        return fail(f"not enough memory: {str(error).splitlines()[0]}; lower --batch-size, or give --device cpu")
    except KeyboardInterrupt:
        print("\nstopped; the same line continues where it can", file=sys.stderr)
        return RESUMABLE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return fail(f"{where}{error.strerror or error}{remedy(error)}")


def fail(message: str) -> int:
    print(f"vesalius: {message}", file=sys.stderr)
    return USAGE


def remedy(error: OSError) -> str:
    import errno

    if "--out" in str(error):  # the message names its remedy already
        return ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "; free some space, then run the same line again: what is whole is kept"
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return "; a file lies where a folder is needed, or the reverse; choose another path"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "; change its permissions, or choose another: sources must be readable, and --out a place to write to"
    return ""


def heed_signals() -> None:
    """From here on SIGTERM, the notice of a machine that is taken away, ends a line as Ctrl-C does."""
    import signal

    def stop(*_: object) -> None:
        raise Stopped

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def run_module(kind: type[C], work: Callable[[C], Any]) -> NoReturn:
    """What a module does that `python -m` runs: its line parsed as a configuration, and worked on. Ends the process.

    Of the work False means that it was stopped and the same line continues; any other answer that it is done.
    """
    import tyro

    from vesalius.data.command.flags import asks_for_help, help_text, without_none

    heed_signals()
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    called, words = f"python -m {spec.name}" if spec else sys.argv[0], sys.argv[1:]
    if asks_for_help(words):
        print(help_text(called, kind))
        sys.exit(DONE)

    def run() -> int:
        config = tyro.cli(kind, args=without_none(words, kind), prog=called)
        return RESUMABLE if work(config) is False else DONE

    sys.exit(ended(run))
