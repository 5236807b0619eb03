from __future__ import annotations

import math

import numpy as np
import pytest

from vesalius.eval.gates.gates import (
    GATES,
    RULES,
    Limit,
    Thresholds,
    calibrate,
    judge_sample,
    order_statistic,
    rule_of,
)
from vesalius.inference.sample import Sample

GOOD = {
    "contrast": 40.0, "black": 0.1, "white": 0.0, "darkest": 4.0, "brightest": 200.0, "roughness": 0.2, "grain": 0.2,
    "colour": 50.0, "hu_low": -1000.0, "hu_high": 400.0,
    "modality": 0.99, "organ_margin": 0.2, "agreement": 0.5, "side_margin": 0.2, "negation_margin": 0.2,
    "finding_margin": 0.2, "other_margin": 0.3, "shows CT/nodule": 0.9, "lacks CT/effusion": 0.9, "side CT/nodule": 0.5,
    "both sides CT/mass": 0.4, "label_margin": 0.5, "nearest_train": 0.4, "nearest_pixels": 0.5,
    "typical_distance": 0.5, "words": 0.0,
}  # fmt: skip
BAD = {
    "contrast": 1.0, "black": 0.9, "white": 0.5, "darkest": 99.0, "brightest": 80.0, "roughness": 0.9, "grain": 0.9,
    "colour": 120.0, "hu_low": -1300.0, "hu_high": 1300.0, "modality": 0.1, "organ_margin": -0.2, "agreement": 0.1,
    "side_margin": -0.3, "negation_margin": -0.2, "finding_margin": -0.2, "other_margin": 0.0, "shows CT/nodule": 0.1,
    "lacks CT/effusion": 0.2, "side CT/nodule": -0.6, "both sides CT/mass": -0.4, "label_margin": -0.9,
    "nearest_train": 0.01, "nearest_pixels": 0.01, "typical_distance": 2.0, "words": 3.0,
}  # fmt: skip


def sample(modality: str = "CT", sha256: str = "", *, raw16: str | None = "raw16/0.png") -> Sample:
    return Sample(
        file_name="images/0.png", text="Chest CT", modality=modality, seed=0, steps=1, guidance=1.0, sha256=sha256,
        raw16=raw16,
    )  # fmt: skip


def real_scores(num: int, **changes: float) -> list[dict[str, float]]:
    """Scores of real images that scatter a little around the good ones."""
    rng = np.random.default_rng(0)
    return [{k: changes.get(k, v) * (1 + 0.02 * rng.standard_normal()) for k, v in GOOD.items()} for _ in range(num)]


LIMITS = calibrate(["CT"] * 60, real_scores(60))


@pytest.mark.parametrize("name", BAD)
def test_each_score_that_no_real_image_has_is_refused_by_its_gate_in_words(name: str) -> None:
    assert judge_sample(sample(), GOOD, LIMITS).reason is None
    verdict = judge_sample(sample(), {**GOOD, name: BAD[name]}, LIMITS)
    rule = rule_of(name)
    assert rule is not None
    assert verdict.reason is not None
    assert verdict.reason.startswith(f"{rule.gate}: ")
    assert verdict.refused_by == (rule.gate,)
    assert "real CT images" in verdict.reason


def test_every_rule_and_gate_is_tested_above() -> None:
    assert {id(rule_of(name)) for name in BAD} == {id(rule) for rule in RULES.values()}
    assert {*GATES} == {"readable", "veto", *(rule.gate for rule in RULES.values())}


@pytest.mark.parametrize("value", [1e6, -1e6])
def test_both_tails_of_the_typical_band_are_refused(value: float) -> None:
    assert judge_sample(sample(), {**GOOD, "typical_distance": value}, LIMITS).refused_by == ("typical",)


def test_a_fault_and_a_veto_come_first_and_all_objections_are_kept() -> None:
    verdict = judge_sample(sample(sha256="abc"), {**GOOD, "modality": 0.0}, LIMITS, veto={"abc"})
    assert verdict.reason == "veto: a person refused it"
    assert verdict.refused_by == ("veto", "modality")
    assert judge_sample(sample(), {}, LIMITS, fault="no such image file").reason == "readable: no such image file"


def test_a_score_that_is_no_number_is_refused() -> None:
    assert judge_sample(sample(), {**GOOD, "agreement": math.nan}, LIMITS).refused_by == ("agreement",)


def test_a_modality_without_held_out_images_is_refused() -> None:
    assert "no held-out real MRI" in str(judge_sample(sample("MRI"), GOOD, LIMITS).reason)


def test_greyscale_ct_is_held_to_greyscale_ct() -> None:
    rows = [*real_scores(60), *real_scores(30, nearest_train=4.0)]
    both = calibrate(["CT"] * 60 + ["CT, greyscale"] * 30, rows)
    assert judge_sample(sample(), GOOD, both).reason is None
    assert judge_sample(sample(raw16=None), GOOD, both).refused_by == ("copy",)
    assert "no held-out real CT, greyscale" in str(judge_sample(sample(raw16=None), GOOD, LIMITS).reason)
    few = calibrate(["CT"] * 60 + ["CT, greyscale"] * 3, rows[:63])
    assert "no held-out real CT, greyscale" in str(judge_sample(sample(raw16=None), GOOD, few).reason)


def test_what_a_prompt_does_not_say_is_not_asked() -> None:
    without = {k: v for k, v in GOOD.items() if "side" not in k}
    verdict = judge_sample(sample(), without, LIMITS)
    assert (verdict.reason, verdict.abstained) == (None, ())


@pytest.mark.parametrize("missing", ["modality", "organ_margin", "words"])
def test_a_gate_that_could_not_look_says_so(missing: str) -> None:
    verdict = judge_sample(sample(), {k: v for k, v in GOOD.items() if k != missing}, LIMITS)
    assert verdict.abstained == (RULES[missing].gate,)


def test_a_question_at_chance_on_real_images_is_not_asked_of_samples() -> None:
    coin = [{**row, "side_margin": (-1) ** i * 0.2} for i, row in enumerate(real_scores(60))]
    limits = calibrate(["CT"] * 60, coin)
    verdict = judge_sample(sample(), {**GOOD, "side_margin": -5.0}, limits)
    assert verdict.reason is None
    assert "chance" in limits["CT"].limits["side_margin"].abstains
    assert "side" not in verdict.abstained  # the finding head still could tell
    alone = {k: v for k, v in GOOD.items() if k == "side_margin" or "side" not in k}
    assert judge_sample(sample(), {**alone, "side_margin": -5.0}, limits).abstained == ("side",)


def test_a_judge_that_always_says_yes_is_at_chance() -> None:
    rows = [{**row, "lacks CT/nodule": 0.05} if i % 2 else row for i, row in enumerate(real_scores(60))]
    for row in rows:
        if "lacks CT/nodule" in row:
            del row["shows CT/nodule"]
    limits = calibrate(["CT"] * 60, rows)["CT"].limits
    assert limits["shows CT/nodule"].right == pytest.approx(0.5)
    assert "chance" in limits["shows CT/nodule"].abstains
    assert "chance" in limits["lacks CT/nodule"].abstains


def test_a_kind_that_few_held_out_images_show_has_the_limit_of_all_kinds() -> None:
    rows = [{**row, "shows CT/rare": 0.95} if i < 3 else row for i, row in enumerate(real_scores(60))]
    limits = calibrate(["CT"] * 60, rows)["CT"].limits
    assert limits["shows CT/rare"] == limits["shows"]
    assert (limits["shows CT/nodule"].num, limits["shows"].num) == (60, 63)
    for kind in ("rare", "never seen"):
        verdict = judge_sample(sample(), {**GOOD, f"shows CT/{kind}": 0.1}, {"CT": Thresholds(limits=limits, num=60)})
        assert verdict.refused_by == ("findings",)


def test_a_limit_says_how_many_false_answers_would_pass() -> None:
    rng = np.random.default_rng(1)
    rows = [
        {**row, "side_margin": float(m)} for row, m in zip(real_scores(400), rng.normal(0.1, 0.1, 400), strict=True)
    ]
    limit = calibrate(["CT"] * 400, rows)["CT"].limits["side_margin"]
    assert limit.right == pytest.approx(0.84, abs=0.05)
    assert limit.passes_false == pytest.approx(0.36, abs=0.08)  # P(-m >= mean - 1.645 sd) of m ~ N(0.1, 0.1)


@pytest.mark.parametrize("num", [5, 20, 100, 1000])
@pytest.mark.parametrize("most", [0.01, 0.05])
def test_the_share_of_unseen_real_images_refused_is_as_the_limit_says(num: int, most: float) -> None:
    place, expected, bound = order_statistic(num, most)
    rng = np.random.default_rng(num)
    limits = np.sort(rng.random((4000, num)), axis=1)[:, place - 1]  # of uniform scores the share below is the limit
    assert limits.mean() == pytest.approx(expected, rel=0.1)
    assert (limits <= bound).mean() == pytest.approx(0.95, abs=0.02)
    assert place == 1 or expected <= most


def test_pixel_limits_rest_on_training_images_too() -> None:
    seen = [{"contrast": 20.0, "agreement": -1.0}] * 10
    limits = calibrate(["CT"] * 60, real_scores(60), seen=(["CT"] * 10, seen))["CT"].limits
    assert limits["contrast"].num == 70
    assert limits["contrast"].least == pytest.approx(20 - RULES["contrast"].slack)
    assert limits["agreement"].num == 60


def test_few_held_out_images_are_refused_and_few_answers_are_not_asked() -> None:
    with pytest.raises(ValueError, match="at least 5"):
        calibrate(["CT"] * 4, real_scores(4))
    limits = calibrate(["CT"] * 6, real_scores(6))["CT"].limits
    assert "too few" in limits["side_margin"].abstains
    assert "too few" in limits["agreement"].abstains
    assert limits["nearest_train"].least is not None


def test_a_held_out_image_that_is_a_training_image_sets_no_limit_for_copies() -> None:
    rows = [*real_scores(59), {**GOOD, "nearest_train": 0.0, "nearest_pixels": 0.0}]
    thresholds = calibrate(["CT"] * 60, rows)["CT"]
    assert thresholds.nearest_low > 0.3
    assert judge_sample(sample(), {**GOOD, "nearest_train": 0.001}, {"CT": thresholds}).refused_by == ("copy",)


def test_limits_tell_what_a_sample_was_held_to() -> None:
    told = Thresholds(limits={"agreement": Limit(least=0.2, num=9), "side": Limit(num=1, abstains="few")}, num=9)
    assert told.told({"agreement": 0.3, "side": 1.0, "unknown": 2.0}) == {"agreement": [0.2, None]}
