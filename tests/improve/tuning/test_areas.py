"""Areas of findings as a loss: nothing of phantoms as they are, something of each thing that is wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vesalius.data.phantoms.phantom import KINDS, PhantomConfig, write_phantoms
from vesalius.data.record import Finding, Record, Side
from vesalius.finetune.judges.reader import load_masks, phantoms_of
from vesalius.improve.asking.ask import Ask
from vesalius.improve.tuning.areas import Areas, _signs, area_loss, judge_loss, learn_areas
from vesalius.models.networks.judge import Judge
from vesalius.models.networks.reader import Reader, ReaderConfig

READER = Reader(ReaderConfig())
BANDS = {("CT/nodule", 1, False): (-0.3, -0.1), ("CT/nodule", 3, False): (0.6, 0.8),
         ("CT/consolidation", 1, False): (6.1, 6.5), ("CT/consolidation", 1, True): (6.8, 7.1)}  # fmt: skip
AREAS = Areas(BANDS, 128)
Members = list[tuple[Path, Record]]


def ask(*findings: Finding, modality: str = "CT") -> Ask:
    return Ask(text="x", modality=modality, findings=findings, stratum="x")


def maps(modality: str = "CT", **areas: tuple[int, int]) -> torch.Tensor:
    """Probabilities of a picture where so many pixels of a kind lie on its left and right half."""
    found = torch.zeros(1, 1 + len(READER.config.labels), 128, 128)
    for kind, halves in areas.items():
        place = 1 + READER.config.labels.index(f"{modality}/{kind}")
        for start, num in zip((0, 64), halves, strict=True):
            half = found[0, place, :, start : start + 64]
            half[: -(-num // 64)] = (torch.arange(-(-num // 64) * 64) < num).float().view(-1, 64)
    found[:, 0] = 1 - found[:, 1:].sum(1)
    return found


def mean(probabilities: torch.Tensor, asked: Ask) -> float:
    return float(area_loss(probabilities, [asked], READER, AREAS)[0])


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Members:
    folder = tmp_path_factory.mktemp("areas") / "phantoms"
    write_phantoms(PhantomConfig(num=150, seed=8, size=128, out=folder, hounsfield=True, json=True))
    return phantoms_of([folder], "train")


def test_phantoms_as_they_are_hardly_lose_and_those_of_another_prompt_do(members: Members) -> None:
    areas = learn_areas(members, READER.config)
    masks = load_masks(members, READER.config).long()
    probabilities = torch.nn.functional.one_hot(masks, 1 + len(READER.config.labels)).permute(0, 3, 1, 2).float()
    asks = [ask(*r.findings, modality=r.modality) for _, r in members]
    own, worst = area_loss(probabilities, asks, READER, areas)
    assert own.mean() < 0.05
    assert (worst < 0.3).float().mean() > 0.8
    for modality in KINDS:
        mine = [i for i, a in enumerate(asks) if a.modality == modality]
        other = area_loss(probabilities[mine], [asks[i] for i in [*mine[1:], mine[0]]], READER, areas)[0]
        assert other.mean() > 0.5


def test_a_finding_that_is_not_there_on_the_other_side_too_large_or_too_many_is_wrong() -> None:
    nodule = Finding(kind="nodule", side="left", size_mm=20.0)
    low, high = AREAS.of("CT", nodule) or (0.0, 0.0)
    right_size = round(float(torch.tensor((low + high) / 2).exp())) - 1
    right = mean(maps(nodule=(0, right_size)), ask(nodule))  # the patient's left is the picture's right
    assert right < 0.01
    for wrong in ((right_size, 0), (0, 0), (0, 4 * right_size), (right_size, right_size)):
        assert mean(maps(nodule=wrong), ask(nodule)) > right + 0.05
    three = dataclasses.replace(nodule, count=3)
    assert mean(maps(nodule=(0, right_size)), ask(three)) > mean(maps(nodule=(0, round(2.5 * right_size))), ask(three))


def test_what_nobody_asked_for_is_wrong_as_what_was_denied_is() -> None:
    both = Finding(kind="consolidation", side="bilateral")
    here = maps(consolidation=(500, 500))
    assert mean(here, ask(both)) < 0.01
    assert mean(here, ask()) == mean(here, ask(Finding(kind="consolidation", present=False))) > 0.5
    assert mean(maps(consolidation=(1000, 0)), ask(both)) > 0.1
    assert mean(maps(), ask()) == 0


@given(left=st.integers(0, 3000), right=st.integers(0, 3000), side=st.sampled_from(["left", "right"]))
def test_a_mirrored_picture_is_to_the_other_side_what_it_was_to_this(left: int, right: int, side: Side) -> None:
    asked, other = (ask(Finding(kind="consolidation", side=s)) for s in (side, "left" if side == "right" else "right"))
    picture = maps(consolidation=(left, right))
    assert mean(picture, asked) == pytest.approx(mean(picture.flip(-1), other), abs=1e-5)


def test_a_kind_without_a_band_has_to_be_there() -> None:
    asked = ask(Finding(kind="pneumothorax", side="right"))
    assert AREAS.of("CT", asked.findings[0]) is None
    assert mean(maps(), asked) > 0.1
    assert mean(maps(pneumothorax=(300, 0)), asked) == 0


def test_the_judge_is_asked_of_both_sides_of_a_finding_that_has_one() -> None:
    one, both = (_signs("CT", Finding(kind="nodule", side=side)) for side in ("left", "bilateral"))
    assert dict(one) == {"CT/nodule": 1, "CT/nodule/left": 1, "CT/nodule/right": -1}
    assert dict(both) == {"CT/nodule": 1, "CT/nodule/left": 1, "CT/nodule/right": 1}
    assert _signs("CT", Finding(kind="nodule")) == [("CT/nodule", 1)]
    assert _signs("CT", Finding(kind="nodule", present=False)) == [("CT/nodule", -1)]


def test_the_judge_loses_where_it_is_sure_of_the_contrary(members: Members) -> None:
    judge = Judge.load()
    pixels = torch.zeros(2, 3, 128, 128, requires_grad=True)
    asked = [ask(Finding(kind="nodule", side="left")), ask(Finding(kind="nodule", present=False))]
    loss = judge_loss(judge, pixels, asked)
    assert (loss >= 0).all()
    assert loss[0] > 0  # an empty picture shows none
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert pixels.grad is not None
    assert judge_loss(judge, pixels, [ask(), ask()]).tolist() == [0, 0]
