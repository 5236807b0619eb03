from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vesalius.cli.main import CHECK, DONE, PARTIAL, RESUMABLE, USAGE, find_verb, main, parse
from vesalius.data.command.ending import heed_signals
from vesalius.data.images.image import read_image
from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms

PROMPT = "Chest CT with a nodule in the left lung."


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run one command line in this process: exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        try:
            code = main([str(w) for w in words])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


Call = Callable[..., tuple[int, str, str]]


def files(folder: Path) -> set[Path]:
    return {p for p in folder.rglob("*") if p.is_file()}


def one_object(out: str) -> Any:
    """What stdout holds, where it is exactly one JSON object on one line."""
    assert out.count("\n") == 1
    value = json.loads(out)
    assert isinstance(value, dict)
    return value


def test_from_phantoms_to_pictures_in_one_chain(call: Call, tiny_base: Path, tmp_path: Path) -> None:
    data, run, samples = tmp_path / "data", tmp_path / "run", tmp_path / "samples"
    code, out, _ = call("data", "phantom", "--num", 40, "--seed", 1, "--size", 32, "--out", data)
    assert (code, out.splitlines()[-1]) == (DONE, f"wrote 40 phantoms: {data}")
    code, out, _ = call("data", "check", data)
    assert code == DONE, out
    line = ("--data", data, "--base", tiny_base, "--steps", 2, "--batch-size", 4, "--num-validation", 4)
    code, out, err = call("finetune", *line, "--out", run)
    assert code == DONE, err
    assert "validation loss" in out
    assert f"adapter: {run}" in out
    drawing = ("generate", PROMPT, "--num", 2, "--steps", 2, "--base", tiny_base, "--adapter", run, "--out", samples)
    code, out, err = call(*drawing)
    assert (code, out.splitlines()[-1]) == (DONE, f"2 images: {samples}"), err
    pictures = sorted((samples / "images").iterdir())
    assert [read_image(p).shape for p in pictures] == [(32, 32, 1)] * 2

    # The same lines again change nothing, and for machines each prints one object.
    before = {p: p.stat().st_mtime_ns for p in pictures}
    summary = one_object(call("finetune", *line, "--out", run, "--json")[1])
    assert (summary["step"], summary["finished"]) == (2, True)
    drawn = one_object(call(*drawing, "--json")[1])
    assert [s["synthetic"] for s in drawn["samples"]] == [True, True]
    assert drawn["samples"][0]["adapter_digest"]
    assert {p: p.stat().st_mtime_ns for p in pictures} == before
    assert one_object(call("data", "check", data, "--json")[1])["ok"] is True
    assert one_object(call("data", "phantom", "--num", 40, "--seed", 1, "--size", 32, "--out", data, "--json")[1])

    # What the samples are compared with is looked for before any model is opened.
    line = ("eval", samples, "--real", data, "--split", "train", "--out", tmp_path / "report", "--dry-run", "--json")
    code, out, _ = call(*line)
    assert code == DONE
    assert one_object(out)["samples"] == 2
    assert not (tmp_path / "report").exists()


def test_a_dry_run_writes_nothing(call: Call, tiny_base: Path, phantoms: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    even = PhantomConfig(num=120, size=32, val=0.4, test=0.3, out=tmp_path / "even", json=True)
    for words in (
        ("data", "phantom", "--num", 3),
        ("data", "build", phantoms),
        ("finetune", "--data", phantoms, "--base", tiny_base, "--steps", 2),
        ("generate", PROMPT, "--base", tiny_base),
        ("improve", "run", "--data", write_phantoms(even), "--base", tiny_base),
    ):
        before = files(phantoms) | files(tiny_base)
        code, told, err = call(*words, "--out", out, "--dry-run")
        assert code == DONE, err
        assert told
        assert not out.exists(), words
        assert files(phantoms) | files(tiny_base) == before
        assert one_object(call(*words, "--out", out, "--dry-run", "--json")[1]) is not None


def test_no_words_tell_the_usage_and_are_bad_usage(call: Call) -> None:
    assert call()[0] == USAGE
    assert call("--help")[0] == DONE
    assert call("data", "--help")[0] == DONE
    assert call("--version")[1].startswith("vesalius ")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [(("finetun",), "finetune"), (("data", "biuld"), "data build"), (("genrate", "x"), "generate")],
)
def test_an_unknown_verb_names_the_nearest(call: Call, typed: tuple[str, ...], meant: str) -> None:
    code, out, err = call(*typed)
    assert (code, out) == (USAGE, "")
    assert f"did you mean `vesalius {meant}`?" in err


def test_bad_flags_are_bad_usage_and_are_named(call: Call, tmp_path: Path) -> None:
    code, out, err = call("data", "phantom", "--out", tmp_path / "a", "--nun", 3)
    assert (code, out) == (USAGE, "")
    assert "--nun" in err
    assert call("data", "phantom", "--out", tmp_path / "a", "--num", "many")[0] == USAGE
    assert call("generate", PROMPT)[0] == USAGE  # --out is missing
    assert not (tmp_path / "a").exists()


def test_bad_input_is_one_line_without_a_traceback(call: Call, tmp_path: Path) -> None:
    for words in (
        ("data", "check", tmp_path / "nowhere"),
        ("data", "phantom", "--num", 0, "--out", tmp_path / "a"),
        ("finetune", "--data", tmp_path / "nowhere", "--out", tmp_path / "a"),
        ("generate", "a nodule on the left", "--out", tmp_path / "a"),
        ("generate", PROMPT, "--base", tmp_path, "--out", tmp_path / "a"),
        ("eval", tmp_path / "nowhere", "--real", tmp_path, "--out", tmp_path / "a"),
        ("improve", "status", tmp_path / "nowhere"),
    ):
        code, out, err = call(*words)
        assert (code, out) == (USAGE, ""), words
        assert err.startswith("vesalius: ")
        assert len(err.splitlines()) == 1, err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stepps = 3", "'stepps' is no field of FinetuneConfig; did you mean 'steps'?"),
        ('steps = "many"', "steps is 'many'"),
        ("seed = 1.5", "seed is 1.5"),
        ('precision = "int4"', "precision is 'int4'"),
        ("steps = ", "not TOML"),
    ],
)
def test_a_bad_recipe_names_file_and_key(call: Call, tmp_path: Path, text: str, told: str) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text)
    code, out, err = call("finetune", recipe, "--data", tmp_path, "--out", tmp_path / "run")
    assert (code, out) == (USAGE, "")
    assert str(recipe) in err
    assert told in err
    assert call("finetune", tmp_path / "none.toml", "--data", tmp_path, "--out", tmp_path / "run")[0] == USAGE


def test_flags_override_a_recipe_and_the_recipe_the_defaults(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('data = ["a", "b"]\nsteps = 7\nseed = 3\nlearning_rate = 1\nmin_snr_gamma = "none"\n')
    verb, rest = find_verb(["finetune", str(recipe), "--out", "run", "--steps", "9"])
    assert verb is not None
    config = parse(verb, rest)
    assert config.data == (Path("a"), Path("b"))
    assert (config.steps, config.seed, config.learning_rate, config.batch_size) == (9, 3, 1.0, 16)
    assert config.min_snr_gamma is None


def test_a_damaged_dataset_fails_its_check(call: Call, tmp_path: Path) -> None:
    folder = write_phantoms(PhantomConfig(num=6, size=32, out=tmp_path / "data", json=True))
    next(folder.rglob("images/*.png")).write_bytes(b"no picture")
    code, out, _ = call("data", "check", folder)
    assert code == CHECK
    assert "problem: " in out
    assert one_object(call("data", "check", folder, "--json")[1])["ok"] is False


def test_a_build_that_set_rows_aside_is_partly_done(call: Call, tmp_path: Path) -> None:
    folder = write_phantoms(PhantomConfig(num=6, size=32, out=tmp_path / "data", json=True))
    image = next(folder.rglob("images/*.png"))
    table = tmp_path / "cases.csv"
    table.write_text(f"path,Text,modality\n{image},Chest CT with a nodule,CT\nmissing.png,Brain MRI,MRI\n")
    stopped = call("data", "build", table, "--out", tmp_path / "a")
    assert stopped[0] == USAGE
    assert "cases.csv:3" in stopped[2]
    code, out, _ = call("data", "build", table, "--out", tmp_path / "b", "--keep-going")
    assert code == PARTIAL
    assert "1 bad row in" in out
    code, out, _ = call("data", "build", table, "--out", tmp_path / "c", "--keep-going", "--json")
    assert (code, len(one_object(out)["quarantined"])) == (PARTIAL, 1)


def test_a_folder_that_may_not_be_written_is_told_with_a_remedy(call: Call, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "shut").mkdir(mode=0o500)
    code, _, err = call("data", "phantom", "--num", 1, "--out", tmp_path / "shut" / "a")
    assert code == USAGE
    assert "change its permissions, or choose another" in err


def test_a_run_that_was_told_to_stop_says_that_its_line_continues(
    tiny_base: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [
        "finetune", "--data", str(phantoms), "--base", str(tiny_base), "--steps", "5000", "--batch-size", "2",
        "--num-validation", "2", "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    losses = tmp_path / "run" / "losses.jsonl"

    def stop() -> None:
        while not (losses.is_file() and losses.stat().st_size):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    heed_signals()  # as the console script does
    try:
        threading.Thread(target=stop, daemon=True).start()
        assert main(line) == RESUMABLE
    finally:
        for number, action in former.items():
            signal.signal(number, action)
    assert "the same line continues" in capsys.readouterr().out


def test_a_picture_is_drawn_without_a_word_of_a_librarys_deprecations(tiny_base: Path, tmp_path: Path) -> None:
    words = ["generate", "Chest CT", "--base", str(tiny_base), "--steps", "2", "--out", str(tmp_path / "s")]
    run = subprocess.run([sys.executable, "-m", "vesalius.cli.main", *words], capture_output=True, text=True)
    assert run.returncode == DONE
    assert "eprecat" not in run.stderr, run.stderr
