from __future__ import annotations

from pathlib import Path

import pytest

from vesalius.data.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records
from vesalius.improve.prompts import pick


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(PhantomConfig(num=30, seed=11, out=tmp_path_factory.mktemp("prompts") / "data", json=True))


def test_prompts_take_the_modalities_in_turn(data: Path) -> None:
    members = [(data, r) for r in load_records(data, "train")]
    picked = pick(members, 9, seed=0)
    assert [r.modality for r in picked] == ["CT", "MRI", "pathology"] * 3
    assert len({r.file_name for r in picked}) == 9
