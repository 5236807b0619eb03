"""Prompts by combination, and ladders: what is drawn, under which seed and name, and what cannot be."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from pathlib import Path

import pytest

from vesalius.cli.main import main
from vesalius.data.findings.read import as_findings, findings_in
from vesalius.data.images.image import read_recipe
from vesalius.data.phantoms.phantom import KINDS
from vesalius.data.record import Finding
from vesalius.inference.config import GenerateConfig
from vesalius.inference.prompts.grid import grid_prompts
from vesalius.inference.running.run import generate, stream_requests
from vesalius.inference.sample import load_samples


def config(out: Path, **changes: object) -> GenerateConfig:
    return GenerateConfig(out=out, steps=1, json=True, **changes)  # type: ignore[arg-type]


def test_every_combination_that_can_be_is_a_prompt_with_its_findings_and_the_rest_is_named() -> None:
    grid = grid_prompts(("modality=CT,MRI", "finding=nodule,mass", "side=left,right"))
    asked = {(p.modality, *((f.kind, f.side) for f in p.findings)) for p in grid.prompts}
    assert asked == {
        ("CT", ("nodule", "left")), ("CT", ("nodule", "right")), ("MRI", ("mass", "left")), ("MRI", ("mass", "right")),
    }  # fmt: skip
    assert grid.note() == "left out, as they cannot be: mass in CT; nodule in MRI"


def test_a_gland_has_no_side_and_a_normal_picture_is_there_once() -> None:
    grid = grid_prompts(("modality=pathology", "finding=gland,none", "side=left,right"))
    assert [[f.present for f in p.findings] for p in grid.prompts] == [[False] * len(KINDS["pathology"])]
    assert len(grid.left_out) == 2
    assert all("'gland'" in line for line in grid.left_out)


@pytest.mark.parametrize(
    "finding",
    [
        Finding(kind="nodule", side="left", size_mm=20.0), Finding(kind="nodule", side="bilateral", count=2),
        Finding(kind="pleural effusion", side="right"), Finding(kind="infarct", side="left"),
    ],
)  # fmt: skip
def test_a_prompt_says_what_it_asks_for(finding: Finding) -> None:
    words = [
        f"finding={finding.kind}",
        f"side={finding.side}",
        f"count={finding.count}",
        f"size={finding.size_mm or 'none'}",
    ]
    for seed in range(5):
        (prompt,) = grid_prompts(words, seed=seed).prompts
        assert prompt.findings == (finding,)
        (read,) = [f for f in as_findings(findings_in(prompt.text)) if f.present]
        assert (read.kind, read.side, read.size_mm) == (finding.kind, finding.side, finding.size_mm), prompt.text


def test_without_a_modality_it_is_each_that_can_have_the_finding() -> None:
    assert {p.modality for p in grid_prompts(("finding=nodule,infarct",)).prompts} == {"CT", "MRI"}
    assert not grid_prompts(("finding=nodule,infarct",)).left_out
    assert {p.modality for p in grid_prompts(("finding=mass",), modality="MR").prompts} == {"MRI"}


def test_a_modality_is_given_once() -> None:
    with pytest.raises(ValueError, match="keep one of them"):
        grid_prompts(("modality=CT", "finding=nodule"), modality="MRI")


def test_other_seeds_and_combinations_are_worded_otherwise_and_the_same_ones_the_same() -> None:
    words = ("modality=CT", "finding=nodule", "side=left,right")
    texts = {p.text for seed in range(4) for p in grid_prompts(words, seed=seed).prompts}
    assert len(texts) > 5
    assert grid_prompts(words, seed=3) == grid_prompts(words, seed=3)
    fewer = grid_prompts(("modality=CT", "finding=nodule", "side=right")).prompts
    assert fewer[0] in grid_prompts(words).prompts


def test_a_ladder_changes_one_thing_and_holds_the_seed(tmp_path: Path) -> None:
    requests = list(
        stream_requests(config(tmp_path, grid=("modality=CT", "side=left,right"), vary=("finding=none,nodule",), num=2))
    )
    assert [r.file_name for r in requests][:4] == [
        "images/ct-left-by-finding-none-0000.png", "images/ct-left-by-finding-none-0001.png",
        "images/ct-left-by-finding-nodule-0000.png", "images/ct-left-by-finding-nodule-0001.png",
    ]  # fmt: skip
    pairs = defaultdict(list)
    for request in requests:
        pairs[request.group, request.seed].append(request)
    assert len(pairs) == 4
    assert len({seed for _, seed in pairs}) == 4
    for none, nodule in pairs.values():
        assert not any(f.present for f in none.findings)
        assert [(f.kind, f.present) for f in nodule.findings] == [("nodule", True)]


def test_the_prompts_of_a_ladder_differ_in_that_thing_alone() -> None:
    for words in ("side=left,right", "size=12,20,30"):
        texts = [p.text.lower().split() for p in grid_prompts(("modality=CT", "finding=nodule"), (words,)).prompts]
        for one, other in itertools.pairwise(texts):
            assert len(one) == len(other)
            assert 1 <= sum(a != b for a, b in zip(one, other, strict=True)) <= 2


def test_each_thing_that_varies_makes_ladders_of_its_own_and_one_of_a_single_rung_is_left_out() -> None:
    grid = grid_prompts(("finding=nodule,gland",), ("side=left,right", "count=1,2"))
    assert {p.group for p in grid.prompts} == {
        "ct-nodule-by-side", "ct-nodule-by-count", "pathology-gland-by-count",
    }  # fmt: skip
    assert "pathology-gland-by-side: too few to compare" in grid.left_out


@pytest.mark.parametrize(
    ("grid", "vary", "told"),
    [
        (("modality=CTT",), (), r"--grid modality=CTT: .*did you mean 'CT'"),
        (("modality=X-ray",), (), "findings are known of CT, MRI, pathology"),
        (("finding=nodul",), (), "--grid finding=nodul is not known; did you mean 'nodule'"),
        (("finding=nodule", "side=lft"), (), "did you mean 'left'"),
        (("findings=nodule",), (), "did you mean 'finding'"),
        (("nodule",), (), "expected key=word,word"),
        (("finding=nodule", "size=big"), (), "expected millimetres"),
        (("finding=nodule", "finding=mass"), (), "is there twice"),
        (("finding=nodule,",), (), "an empty word"),
        (("side=left",), (), "needs a finding"),
        ((), ("side=left,right",), "name the finding"),
        (("finding=nodule",), ("finding=none,nodule",), "keep it in one"),
        (("modality=MRI", "finding=nodule"), (), "nothing can be drawn: nodule in MRI"),
        (("finding=nodule", "size=99"), (), "nothing can be drawn.*not within 12 and 45"),
    ],
)
def test_what_is_not_known_or_cannot_be_is_told(grid: tuple[str, ...], vary: tuple[str, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        grid_prompts(grid, vary)


def test_samples_of_a_ladder_carry_their_group_and_findings(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "s"
    line = [
        *("generate", "--grid", "modality=CT", "finding=nodule,gland", "--vary", "side=left,right", "--steps", "1"),
        *("--base", str(tiny_base), "--out", str(out)),
    ]
    assert main(line) == 0
    assert capsys.readouterr().err.count("left out, as they cannot be: gland in CT") == 1
    left, right = load_samples(out)
    assert (left.group, left.seed) == (right.group, right.seed) == ("ct-nodule-by-side", left.seed)
    assert [s.findings[0].side for s in (left, right)] == ["left", "right"]
    assert read_recipe(out / left.file_name)["group"] == "ct-nodule-by-side"
    assert all("group" in json.loads(row) for row in (out / "metadata.jsonl").read_text().splitlines())
    assert main(line) == 0  # again, and nothing is drawn


def test_a_folder_whose_prompts_have_changed_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "p.txt"
    prompts.write_text("Chest CT\n")
    run = config(tmp_path / "s", prompts=prompts, base=str(tiny_base))
    generate(run)
    prompts.write_text("Chest CT\nBrain MRI\n")
    assert generate(run).num_samples == 2
    prompts.write_text("Brain MRI\n")
    with pytest.raises(ValueError, match="the prompts have changed"):
        generate(run)
