from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from vesalius.data.record import load_records, write_dataset
from vesalius.finetune.judges.judge import JudgeTraining, train_judge
from vesalius.improve.proof.plants import Told, read_picture, write_picture
from vesalius.inference.sample import sample_lines


@pytest.mark.parametrize("many", [True, False])
def test_the_judge_refuses_generated_images_be_there_but_one(phantoms: Path, tmp_path: Path, many: bool) -> None:
    drawn = [dataclasses.replace(r, origin="synthetic", depth=1) for r in load_records(phantoms, "train")]
    write_dataset(tmp_path / "drawn", drawn if many else drawn[:1])
    config = JudgeTraining(data=(phantoms, tmp_path / "drawn"), out=tmp_path / "run", steps=1)
    with pytest.raises(ValueError, match="never trains on generated images"):
        train_judge(config)
    assert not (tmp_path / "run").exists()


def test_the_judge_refuses_a_folder_of_samples_as_data(phantoms: Path, tmp_path: Path) -> None:
    record = load_records(phantoms, "train")[0]
    sample = write_picture(tmp_path, "0", read_picture((phantoms, record)), Told(text="CT", modality="CT"))
    (tmp_path / "metadata.jsonl").write_bytes(sample_lines([sample]))
    with pytest.raises(ValueError, match="never trains on generated images"):
        train_judge(JudgeTraining(data=(phantoms, tmp_path), out=tmp_path / "run", steps=1))
