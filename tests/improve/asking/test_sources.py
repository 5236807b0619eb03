"""A source of prompts that can give none is refused, with what to ask of instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from vesalius.data.record import Record
from vesalius.improve.asking.ask import key_of
from vesalius.improve.asking.sources import ask_of_record, open_source


def record(modality: str) -> Record:
    return Record(file_name="train/images/1.png", text="A picture of a lesion.", modality=modality, split="train")


def test_captions_that_are_all_of_held_out_images_are_refused() -> None:
    ask = ask_of_record(record("MRI"))
    with pytest.raises(ValueError, match=r"--prompts captions: all of them are also captions of .*use phantoms"):
        open_source("captions", [record("MRI")], {key_of(ask.modality, ask.text)}, least=1, seed=(0,))


def test_phantoms_of_none_of_the_modalities_are_refused() -> None:
    with pytest.raises(ValueError, match=r"--prompts phantoms: they are of .*, the data of fundus; use captions"):
        open_source("phantoms", [record("fundus")], (), least=1, seed=(0,))


def test_a_file_of_no_prompt_that_may_be_asked_for_is_refused_with_why(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("Chest CT, a nodule.\n")
    with pytest.raises(ValueError, match=r"prompts\.txt: holds no prompt .*1 prompt of CT, of which .*; give another"):
        open_source(str(path), [record("MRI")], (), least=1, seed=(0,))
