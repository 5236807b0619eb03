from __future__ import annotations

from pathlib import Path

import pytest

from vesalius.data.check.run import CheckConfig, check_dataset
from vesalius.data.datasets.filter import FilterConfig, filter_dataset
from vesalius.data.record import load_records


def test_the_kept_records_are_a_whole_dataset_with_the_same_splits(phantoms: Path, tmp_path: Path) -> None:
    counts = filter_dataset(FilterConfig(folder=phantoms, out=tmp_path / "mri", modality=("MR",), json=True))
    expected = [r for r in load_records(phantoms) if r.modality == "MRI"]
    kept = load_records(tmp_path / "mri")
    assert sum(counts.values()) == len(kept) == len(expected)
    assert {(r.file_name, r.text, r.findings) for r in kept} == {(r.file_name, r.text, r.findings) for r in expected}
    assert check_dataset(CheckConfig(folder=tmp_path / "mri", json=True)).ok
    assert all((tmp_path / "mri" / r.mask).is_file() for r in kept if r.mask)


def test_a_condition_that_nothing_meets_names_what_there_is(phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no record matches.*brain"):
        filter_dataset(FilterConfig(folder=phantoms, out=tmp_path / "none", organ=("spleen",), json=True))
    assert not (tmp_path / "none").exists()


def test_a_folder_in_use_is_refused(phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        filter_dataset(FilterConfig(folder=phantoms, out=tmp_path, json=True))
