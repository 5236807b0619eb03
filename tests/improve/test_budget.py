from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from vesalius.improve.budget import seconds_of, spending, spent


@pytest.mark.parametrize(
    ("budget", "price", "seconds"),
    [("3h", None, 10_800), ("90m", None, 5400), ("0.5 h", 2.0, 1800), ("20", 2.0, 36_000), ("1d", None, 86_400)],
)
def test_hours_and_money_are_seconds(budget: str, price: float | None, seconds: float) -> None:
    assert seconds_of(budget, price) == seconds


@pytest.mark.parametrize(
    ("budget", "price", "words"),
    [
        ("20", None, "--price"), ("20", 0.0, "--price"), ("0h", None, "--budget"), ("much", 1.0, "--budget"),
        ("-3h", 1.0, "--budget"),
    ],
)  # fmt: skip
def test_what_is_no_budget_is_refused_with_an_example(budget: str, price: float | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        seconds_of(budget, price)


def test_a_spent_budget_interrupts_what_runs_and_what_comes_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt), spending(tmp_path, 0.3):
        time.sleep(30)
    assert 0.3 <= spent(tmp_path) < 5
    assert "budget of 0.00 hours is spent" in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt), spending(tmp_path, 0.3):
        pytest.fail("nothing may run")


def test_a_process_in_the_background_hears_of_its_budget_and_of_no_other_interrupt(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for `command &`
    try:
        with spending(tmp_path / "a", 100):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), spending(tmp_path / "b", 0.3):
            time.sleep(30)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, usual)


def test_what_is_spent_adds_up_over_starts(tmp_path: Path) -> None:
    (tmp_path / "spent.json").write_text(json.dumps({"seconds": 100.0}))
    with spending(tmp_path, None):
        time.sleep(0.2)
    assert 100.2 <= spent(tmp_path) < 105
