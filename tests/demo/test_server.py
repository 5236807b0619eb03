"""The demo's server as browsers and scripts meet it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from vesalius.demo import DemoConfig, launch


def test_the_page_comes_with_a_policy_that_lets_nothing_in_from_elsewhere(served: Any) -> None:
    answer = httpx.get(served.url)
    assert answer.status_code == 200
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert not any("http" in sources or "*" in sources for sources in policy.values())


def test_a_loop_that_is_not_there_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    config = DemoConfig(store=tmp_path / "store", port=1 << 15, loop=(tmp_path / "none",))
    with pytest.raises(ValueError, match=r"--loop .*none: no such folder; it is the --out of `vesalius improve run`"):
        launch(config)


def test_one_line_comes_at_once_and_not_on_the_output(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vesalius.demo.server.serve", lambda config, store, folder: print("the address") or 0)
    assert launch(DemoConfig(store=tmp_path / "store", port=port)) == 0
    told = capsys.readouterr()
    assert told.err == "demo: opening; the address follows\n"
    assert told.out == "the address\n"


@pytest.mark.slow
def test_a_second_signal_while_the_server_ends_prints_no_traceback(tmp_path: Path, tiny_base: Path, port: int) -> None:
    told = ["--base", str(tiny_base), "--store", str(tmp_path / "store"), "--port", str(port), "--device", "cpu"]
    server = subprocess.Popen(
        [sys.executable, "-m", "vesalius.cli.main", "demo", *told], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    assert server.stdout is not None
    assert f":{port}/" in server.stdout.readline()
    for pause in (0.3, 0.0, 0.5, 0.5):
        time.sleep(pause)
        if server.poll() is None:
            server.send_signal(signal.SIGINT)
    _, errors = server.communicate(timeout=30)
    assert "Traceback" not in errors
    assert server.returncode == 0


def test_a_page_for_other_machines_is_not_opened_before_somebody_has_an_account(tmp_path: Path, port: int) -> None:
    config = DemoConfig(host="0.0.0.0", store=tmp_path / "store", port=port)
    told = rf"--host 0\.0\.0\.0 lets other machines in, .*`vesalius demo --store {config.store} --add-account NAME`"
    with pytest.raises(ValueError, match=told):
        launch(config)
