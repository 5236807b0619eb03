"""What a stranger may give to any verb: each ends in one message with a remedy, and leaves nothing in the way."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vesalius.cli.main import DONE, RESUMABLE, USAGE, main
from vesalius.data.record import hold, load_records
from vesalius.inference.sample import load_samples

PROMPT = "Chest CT with a nodule in the left lung."


def say(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Exit code and stderr of one line."""
    capsys.readouterr()
    code = main([str(w) for w in words])
    return code, capsys.readouterr().err


def line_of(base: Path, out: Path) -> tuple[object, ...]:
    return ("generate", PROMPT, "--steps", 1, "--base", base, "--out", out)


def training(data: Path, base: Path, out: Path) -> tuple[object, ...]:
    small = ("--steps", 1, "--batch-size", 2, "--num-validation", 2, "--rank", 2, "--device", "cpu")
    return ("finetune", "--data", data, "--base", base, "--out", out, *small)


def edit_row(data: Path, **columns: object) -> None:
    """Change columns of the first training row."""
    rows = data / "train" / "metadata.jsonl"
    first, *rest = rows.read_text().splitlines(keepends=True)
    rows.write_text(json.dumps({**json.loads(first), **columns}) + "\n" + "".join(rest))


def test_a_base_that_does_not_open_does_not_settle_the_folder(
    tiny_base: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in (
        lambda base: line_of(base, tmp_path / "samples"),
        lambda base: training(phantoms, base, tmp_path / "run"),
    ):
        code, told = say(capsys, *line(tmp_path / "nowhere"))
        assert (code, told.count("\n")) == (USAGE, 1)
        assert "nowhere" in told
        code, told = say(capsys, *line(tiny_base))
        assert code == DONE, told


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--guidance", "nan"), "--guidance nan"),
        (("--guidance", "1e30"), "from 0 to 100"),
        (("--steps", "1001"), "from 1 to 1000"),
        (("--device", "tpu"), "--device 'tpu' is not known"),
        (("--device", "cuda:77"), "no such GPU"),
        (("--base", "ow ner/na me!"), "neither a folder nor a hub id"),
    ],
)
def test_impossible_settings_are_named_with_a_remedy(
    flags: tuple[str, str], words: str, tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = say(capsys, *line_of(tiny_base, tmp_path / "samples"), *flags)
    assert code == USAGE
    assert words in told
    assert not (tmp_path / "samples").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.txt", b"CT a\n\xff\xfe\n", "p.txt: not UTF-8"),
        ("p.jsonl", b'{"text": "CT a"}\n{"text": 5}\n', "p.jsonl:2"),
        ("p.jsonl", b'{"text": "CT a", "modality": 7}\n', "p.jsonl:1"),
        ("p.jsonl", b'{"text": "CT a", "modality": "Quux"}\n', "p.jsonl:1: modality 'Quux'"),
        ("p.jsonl", b'{"text": "CT \\ud800"}\n', "not Unicode"),
        ("p.txt", b"MRI brain\n\x01\x02\n", "prompt 2 is empty"),
        ("p.txt", b"CT a\nCT " + b"x" * 10**6, "prompt 2 has 1000003 characters"),
    ],
)
def test_prompts_files_are_refused_by_file_and_line(
    name: str, content: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    code, told = say(capsys, "generate", "--prompts", tmp_path / name, "--modality", "CT", "--out", tmp_path / "out")
    assert (code, told.count("\n")) == (USAGE, 1)
    assert words in told


def test_a_line_separator_within_a_prompt_ends_no_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps({"text": "CT of\u2028the chest"}, ensure_ascii=False) + "\n")
    code, told = say(capsys, "generate", "--prompts", tmp_path / "p.jsonl", "--out", tmp_path / "out", "--dry-run")
    assert code == DONE, told


@pytest.mark.parametrize("columns", [{"text": 6}, {"modality": 7}, {"depth": "x"}, {"findings": '[{"kind": 3}]'}])
def test_a_row_of_wrong_types_is_named_by_file_and_line(
    columns: dict[str, object], phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shutil.copytree(phantoms, tmp_path / "data")
    edit_row(data, **columns)
    for line in (("finetune", "--data", data, "--out", tmp_path / "run"), ("data", "check", data)):
        code, told = say(capsys, *line)
        assert (code, told.count("\n")) == (USAGE, 1)
        assert f"metadata.jsonl:1: column '{next(iter(columns))}'" in told


def test_an_image_changed_after_the_build_is_not_trained_on(
    tiny_base: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shutil.copytree(phantoms, tmp_path / "data")
    first, second, *_ = [data / r.file_name for r in load_records(data, "train")]
    shutil.copyfile(second, first)
    code, told = say(capsys, *training(data, tiny_base, tmp_path / "run"))
    assert code == USAGE
    assert f"{first}: was changed" in told


def test_a_dataset_that_was_stopped_is_not_taken_for_whole(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shutil.copytree(phantoms, tmp_path / "data")
    (data / "manifest.json").unlink()
    code, told = say(capsys, "finetune", "--data", data, "--out", tmp_path / "run")
    assert code == USAGE
    assert "is unfinished; run the line that was making it again" in told


def test_a_filter_that_was_stopped_continues(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "brain"
    line = ("data", "filter", phantoms, "--organ", "brain", "--out", out)
    assert say(capsys, *line)[0] == DONE
    whole = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert say(capsys, *line)[0] == DONE  # again: nothing to do
    (out / "manifest.json").unlink()
    (out / load_records(phantoms)[0].file_name).unlink(missing_ok=True)
    assert say(capsys, *line)[0] == DONE
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == whole
    code, told = say(capsys, "data", "filter", phantoms, "--organ", "chest", "--out", out)
    assert (code, "other records" in told) == (USAGE, True)
    code, told = say(capsys, "data", "filter", phantoms, "--out", phantoms / "part")
    assert (code, "lies inside" in told) == (USAGE, True)


def test_a_second_run_into_the_same_folder_is_turned_away(
    tiny_base: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in (
        line_of(tiny_base, tmp_path / "out"),
        training(phantoms, tiny_base, tmp_path / "out"),
        ("data", "phantom", "--num", 3, "--size", 32, "--out", tmp_path / "out"),
        ("data", "filter", phantoms, "--out", tmp_path / "out"),
    ):
        with hold(tmp_path / "out"):
            code, told = say(capsys, *line)
        assert (code, told.count("\n")) == (USAGE, 1)
        assert "another run is writing there" in told
        assert not (tmp_path / "out").exists()


def test_a_file_as_out_is_refused_with_a_remedy(
    tiny_base: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        for line in (line_of(tiny_base, out), training(phantoms, tiny_base, out)):
            code, told = say(capsys, *line)
            assert (code, told.count("\n")) == (USAGE, 1)
            assert "choose" in told


def test_damaged_files_of_a_run_are_named(tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "samples"
    assert say(capsys, *line_of(tiny_base, out))[0] == DONE
    rows, config = out / "metadata.jsonl", out / "config.json"
    row, was = json.loads(rows.read_text()), config.read_text()
    for damage in ("{", "[]"):
        config.write_text(damage)
        code, told = say(capsys, *line_of(tiny_base, out))
        assert (code, f"{config}: damaged" in told) == (USAGE, True)
    config.write_text(was)
    for bad in ({"a": 1}, {**row, "modality": 7}, {**row, "findings": "[{"}):
        rows.write_text(json.dumps(bad) + "\n")
        code, told = say(capsys, *line_of(tiny_base, out))
        assert (code, f"{rows}:1: not a sample" in told) == (USAGE, True)
        with pytest.raises(ValueError, match="not a sample"):
            load_samples(out)


def test_an_evaluation_refuses_before_any_model_is_opened(
    tiny_base: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report = tmp_path / "samples", tmp_path / "report"
    assert say(capsys, *line_of(tiny_base, out), "--num", 2)[0] == DONE
    line = ("eval", out, "--real", phantoms, "--split", "train", "--dry-run", "--out")
    assert say(capsys, *line, report)[0] == DONE
    assert "holds no report" in say(capsys, *line, phantoms)[1]
    shutil.copyfile(out / "images" / "00000-0001.png", out / "images" / "00000-0000.png")
    code, told = say(capsys, *line, report)
    assert (code, "was changed since it was drawn" in told) == (USAGE, True)


def test_a_loop_without_images_to_gate_by_is_refused_at_once(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = say(capsys, "improve", "run", "--data", phantoms, "--out", tmp_path / "loop")
    assert (code, "thresholds need at least 5, and from 199 on each refuses no more" in told) == (USAGE, True)
    assert str(phantoms) in told
    assert not (tmp_path / "loop").exists()


def test_a_full_disk_in_fine_tuning_is_one_message(tiny_base: Path, phantoms: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "vesalius.cli.main", *map(str, training(phantoms, tiny_base, tmp_path / "run"))]
    limit = 8000  # bytes of any file, below the latents'
    ended = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        ),
    )  # fmt: skip
    assert ended.returncode == USAGE, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "free some space" in ended.stderr
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_an_absurd_batch_is_a_message_about_memory(
    tiny_base: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = say(capsys, *training(phantoms, tiny_base, tmp_path / "run"), "--batch-size", 10**13)
    assert code == USAGE
    assert "not enough memory" in told


def test_sigterm_ends_a_line_with_the_code_for_continuing(tmp_path: Path) -> None:
    words = ["data", "phantom", "--num", "5000", "--size", "64", "--out", str(tmp_path / "out")]
    run = subprocess.Popen([sys.executable, "-m", "vesalius.cli.main", *words], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "out" / "train").is_dir():
        time.sleep(0.05)
    run.send_signal(signal.SIGTERM)
    told = run.communicate(timeout=30)[1]
    assert run.returncode == RESUMABLE
    assert "Traceback" not in told


def test_a_reader_that_has_gone_is_no_error(phantoms: Path) -> None:
    words = [sys.executable, "-m", "vesalius.cli.main", "data", "check", str(phantoms)]
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert "Traceback" not in ended.stderr
    assert "Broken pipe" not in ended.stderr
