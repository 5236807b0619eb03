from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

from vesalius.cli.doctor import PACKAGES, DoctorConfig, doctor, examine
from vesalius.cli.main import CHECK, DONE
from vesalius.data.command.counted import counted
from vesalius.models.base import base_folder


def test_the_facts_are_of_this_machine() -> None:
    facts = examine()
    assert facts["vesalius"] == importlib.metadata.version("vesalius")
    assert facts["cpus"] >= 1
    assert facts["memory_gib"] > 0
    assert set(facts["packages"]) == set(PACKAGES)
    assert facts["packages"]["torch"] == importlib.metadata.version("torch")
    assert json.loads(json.dumps(facts)) == facts


def test_a_problem_is_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    code = doctor(DoctorConfig(json=True))
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    facts = json.loads(out)
    assert code == (CHECK if facts["problems"] else DONE)
    assert doctor(DoctorConfig()) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == ("all well" if code == DONE else counted(len(facts["problems"]), "problem"))
    assert sum(line.startswith("problem: ") for line in lines) == len(facts["problems"])


def test_a_missing_base_is_a_problem_and_a_whole_one_has_a_digest() -> None:
    facts = examine()
    whole = (base_folder("nano") / "model_index.json").is_file()
    assert any("embedded base" in p for p in facts["problems"]) is not whole
    assert not whole or len(facts["nano"]) == 16


def test_home_and_offline_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VESALIUS_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    facts = examine()
    assert facts["home"] == str(tmp_path)
    assert facts["offline"] is True
