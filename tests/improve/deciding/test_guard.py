from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vesalius.improve.deciding.facts import Facts
from vesalius.improve.deciding.guard import alarm, check_witness, embedded
from vesalius.improve.deciding.promotion import compare
from vesalius.models.networks.judge import Judge
from vesalius.models.networks.origin import RANDOM, digest_weights
from vesalius.models.networks.witness import Witness, WitnessConfig

MakeFacts = Callable[..., Facts]
WITNESSED = ["kid/CT", "coverage", "obedience/finding present/reader"]


@pytest.mark.parametrize("name", WITNESSED)
@pytest.mark.parametrize(
    ("liked", "seen", "raised"),
    [(0.05, -0.05, True), (0.05, 0.05, False), (0.05, 0.0, False), (0.0, -0.05, False), (-0.05, -0.05, False)],
)
def test_the_alarm_is_raised_where_the_gates_like_more_what_the_witness_finds_worse(
    make_facts: MakeFacts, name: str, liked: float, seen: float, raised: bool
) -> None:
    told = alarm([make_facts(), make_facts({"gates": liked, name: seen})])
    assert (told is not None) is raised
    assert told is None or f"The {name} of a round" in told


@pytest.mark.parametrize("name", ["validation", "copies", "worst stratum"])
def test_what_no_witness_measures_raises_no_alarm(make_facts: MakeFacts, name: str) -> None:
    assert alarm([make_facts(), make_facts({"gates": 0.05, name: -0.05})]) is None


def test_the_alarm_compares_with_every_champion_so_far(make_facts: MakeFacts) -> None:
    rounds = [make_facts(), make_facts({"kid/CT": 0.04}), make_facts({"kid/CT": -0.001, "gates": 0.05})]
    assert alarm(rounds[::2]) is None
    assert alarm(rounds) is not None


def creeping(make_facts: MakeFacts, steps: list[tuple[float, float]]) -> list[Facts]:
    """Steps that are each within their interval."""
    return [make_facts({"gates": liked, "kid/CT": seen}, noise=0.004) for liked, seen in [(1e-9, 1e-9), *steps]]


def test_a_trend_that_creeps_below_each_interval_raises_the_alarm(make_facts: MakeFacts) -> None:
    rounds = creeping(make_facts, [(0.004, -0.005), (0.007, -0.009)])
    assert alarm(rounds[:2]) is None
    told = alarm(rounds)
    assert told is not None
    assert "over three rounds" in told


@pytest.mark.parametrize("steps", [[(0.004, -0.009), (0.007, -0.005)], [(0.007, -0.005), (0.004, -0.009)],
                                   [(0.004, -0.0005), (0.007, -0.001)]])  # fmt: skip
def test_what_goes_up_and_down_or_hardly_moves_is_no_trend(
    make_facts: MakeFacts, steps: list[tuple[float, float]]
) -> None:
    assert alarm(creeping(make_facts, steps)) is None


def test_an_alarm_rolls_back_and_is_the_first_reason(make_facts: MakeFacts) -> None:
    first = make_facts()
    found = compare(first, first, make_facts({"gates": 0.05, "kid/CT": -0.05, "validation": 0.05}), 1)
    assert not found["promoted"]
    assert found["alarm"] is not None
    assert found["reasons"][0].startswith("alarm: the network of the gates likes the samples more")


def test_a_creeping_alarm_rolls_back_although_nothing_is_worse_beyond_its_interval(make_facts: MakeFacts) -> None:
    first, champion, challenger = creeping(make_facts, [(0.004, -0.005), (0.007, -0.009)])
    found = compare(first, champion, challenger, 2, 1)
    assert found["losses"] == []
    assert found["alarm"] is not None
    assert not found["promoted"]


def test_the_shipped_witness_is_a_stranger_to_the_shipped_judge() -> None:
    check_witness()


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Copies of the shipped judge and witness."""
    return {name: Path(shutil.copytree(embedded(name), tmp_path / name)) for name in ("judge", "witness")}


def write(folder: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors", metadata)


def test_a_witness_that_is_the_judge_is_refused(folders: dict[str, Path]) -> None:
    shutil.copy(folders["judge"] / "model.safetensors", folders["witness"])
    with pytest.raises(ValueError, match="is the judge itself"):
        check_witness(folders["judge"], folders["witness"])


def test_the_judges_weights_are_known_under_other_metadata(folders: dict[str, Path]) -> None:
    weights = load_file(folders["judge"] / "model.safetensors")
    write(folders["witness"], weights, {"run": "another", "init": RANDOM})
    assert digest_weights(folders["witness"] / "model.safetensors") == digest_weights(
        folders["judge"] / "model.safetensors"
    )
    with pytest.raises(ValueError, match="is the judge itself"):
        check_witness(folders["judge"], folders["witness"])


def test_a_witness_initialised_from_the_judge_is_refused_by_its_record(folders: dict[str, Path]) -> None:
    began = digest_weights(folders["judge"] / "model.safetensors")
    write(folders["witness"], load_file(folders["witness"] / "model.safetensors"), {"init": began})
    with pytest.raises(ValueError, match="initialised from the judge"):
        check_witness(folders["judge"], folders["witness"])


def test_both_out_of_one_training_run_or_of_one_start_are_refused(folders: dict[str, Path]) -> None:
    for key, words in (("run", "training run"), ("init", "initialised from|began as")):
        for folder in folders.values():
            write(folder, load_file(folder / "model.safetensors"), {key: "5" * 64})
        with pytest.raises(ValueError, match=words):
            check_witness(folders["judge"], folders["witness"])
    for folder in folders.values():
        write(folder, load_file(folder / "model.safetensors"), {"init": RANDOM})
    check_witness(folders["judge"], folders["witness"])


def test_weights_that_were_trained_on_from_the_judges_are_known_without_a_record(folders: dict[str, Path]) -> None:
    generator = torch.Generator().manual_seed(0)
    moved = {
        f"other.{k}": (v.float() + 0.5 * v.float().std() * torch.randn(v.shape, generator=generator)).half()
        if v.numel() > 1
        else v
        for k, v in load_file(folders["judge"] / "model.safetensors").items()
    }
    write(folders["witness"], moved)
    with pytest.raises(ValueError, match=r"its other\..* is the judge's"):
        check_witness(folders["judge"], folders["witness"])


def test_a_folder_without_a_witness_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no witness there"):
        check_witness(witness=tmp_path)


def test_what_training_writes_of_the_origin_changes_nothing_that_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    witness = Witness(WitnessConfig(image_size=32, width=16, depth=1, attention_heads=2, local=4))
    witness.save(tmp_path / "told", {"run": "5" * 64, "init": RANDOM})
    witness.save(tmp_path / "untold")
    told, untold = (Witness.load(tmp_path / name) for name in ("told", "untold"))
    assert all((a == b).all() for a, b in zip(told.parameters(), untold.parameters(), strict=True))
    check_witness(None, tmp_path / "told")
    assert Judge.load().digest
