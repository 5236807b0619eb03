"""Whether raters agree, with each other and with themselves, in words; and whether they tell real from synthetic.

A rater is told of their own repeats alone: what others say, and how real images fare, would colour what they say next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vesalius.demo.page import Language, Words, say
from vesalius.improve.people.agreement import BAR, LEAST, describe, told_scores
from vesalius.improve.people.ratings import Rating

LEVELS = ((0.9, "excellent"), (0.75, "good"), (0.5, "moderate"), (-1.0, "poor"))
"""Least values of an ICC and their words (Koo and Li 2016, Journal of Chiropractic Medicine 15, 155-163)."""
LEAST_REPEATS = 3
"""Repeats from which a rater is told of them; fewer would tell which pictures they were."""
WORDS: Words = {
    "rate.realism": ("Realism", "真实感"),
    "rate.agreement": ("Agreement with the text", "与文字相符"),
    "rate.none_yet": ("Nobody has rated yet.", "还没有人评分。"),
    "rate.all": (
        "{num} ratings of {samples} pictures by {raters} raters.",
        "{raters} 位评分者对 {samples} 幅图像给出 {num} 个评分。",
    ),
    "rate.icc": (
        "{scale}: agreement is {word}, ICC {value:.2f} (95 %: {low:.2f} to {high:.2f}) over {num} pictures rated by "
        "two or more.",
        "{scale}：一致性{word}，ICC {value:.2f}（95% 区间 {low:.2f} 至 {high:.2f}），"
        "基于 {num} 幅由两人以上评分的图像。",
    ),
    "rate.no_icc": (
        "{scale}: too few pictures were rated by two or more to tell whether they agree.",
        "{scale}：由两人以上评分的图像太少，无法判断一致性。",
    ),
    "rate.veto": (
        "It may only keep pictures out (a 1 or 2 does); to weigh pictures by it takes a lower bound of {bar} over "
        "{least} pictures.",
        "目前只能用来排除图像（1 或 2 分即排除）；若要用作权重，需区间下限达到 {bar} 且有 {least} 幅图像。",
    ),
    "rate.reward": ("The loop may weigh pictures by it.", "改进循环可按其给图像加权。"),
    "rate.kappa": (
        "{scale}, {one} and {other}: weighted kappa {value} over {num} pictures.",
        "{scale}，{one} 与 {other}：加权 kappa {value}，{num} 幅图像。",
    ),
    "rate.artefacts": (
        "Artefacts: Fleiss' kappa {value} over {num} pictures.", "伪影：Fleiss kappa {value}，{num} 幅图像。",
    ),
    "rate.repeats": (
        "{who}, {scale}: {num} pictures rated twice differ by {difference:.2f} of a step on average; weighted kappa "
        "{value}.",
        "{who}，{scale}：{num} 幅重复评分的图像平均相差 {difference:.2f} 分；加权 kappa {value}。",
    ),
    "rate.no_repeats": (
        "You have seen too few pictures twice yet to tell how well you agree with yourself.",
        "您重复看到的图像还太少，无法判断自身一致性。",
    ),
    "rate.sensitivity": (
        "Real against synthetic, {who}: realism is {real:.2f} of {num_real} real and {drawn:.2f} of {num_drawn} "
        "synthetic pictures. A real one is rated above a synthetic one with probability {value}; 0.50: not told apart.",
        "真实与合成，{who}：{num_real} 幅真实图像的真实感均值 {real:.2f}，{num_drawn} 幅合成图像为 {drawn:.2f}。"
        "真实图像评分高于合成图像的概率为 {value}；0.50 表示无法区分。",
    ),
    "rate.no_sensitivity": (
        "Real against synthetic: give real images with --real, and let raters rate some of both.",
        "真实与合成：请用 --real 提供真实图像，并让评分者对两者都评分。",
    ),
    "rate.everyone": ("all raters", "所有评分者"),
    "rate.you": ("you", "您"),
    "rate.excellent": ("excellent", "极好"),
    "rate.good": ("good", "良好"),
    "rate.moderate": ("moderate", "中等"),
    "rate.poor": ("poor", "较差"),
    "rate.unknown": ("not known yet", "尚不可知"),
}  # fmt: skip


def agreement_of(ratings: Sequence[Rating], *, own: str | None) -> dict[str, Any]:
    """The numbers: of all raters, or with `own` of that rater's repeats alone."""
    if own is not None:
        mine = [r for r in ratings if r.rater == own]
        rows = describe(mine)["repeats"].get(own, {}) if mine else {}
        return {"repeats": {own: {k: v for k, v in rows.items() if v["num"] >= LEAST_REPEATS}}}
    if not ratings:
        return {"num": 0}
    return {**describe(ratings), "sensitivity": sensitivity(ratings)}


def sensitivity(ratings: Sequence[Rating]) -> dict[str, Any]:
    """How real images are rated beside synthetic ones, by rater and of all ("") where both were rated: the mean realism
    of each, and the probability that a real one is rated higher (ties half; Mann and Whitney 1947) with its interval by
    bootstrap over ratings."""
    from vesalius.eval.readers.scores import resampled

    origins = {r.sha256: r.origin for r in ratings if r.origin}
    told = [
        (rater, value, origins[digest] != "synthetic")
        for digest, said in told_scores(ratings, "realism").items()
        if digest in origins
        for rater, value in said.items()
    ]
    found = {}
    for rater in ["", *sorted({row[0] for row in told})]:
        mine = [row for row in told if rater in ("", row[0])]
        values = np.array([row[1] for row in mine], int)
        is_real = np.array([row[2] for row in mine], bool)
        if not len(mine) or is_real.all() or not is_real.any():
            continue

        def above(at: Any, values: Any = values, is_real: Any = is_real) -> float | None:
            real, drawn = (np.bincount(values[at][is_real[at] == kind], minlength=6) for kind in (True, False))
            pairs = real.sum() * drawn.sum()
            lower = np.cumsum(drawn) - drawn
            return float((real * (lower + drawn / 2)).sum() / pairs) if pairs else None

        found[rater] = {
            "real": float(values[is_real].mean()), "synthetic": float(values[~is_real].mean()),
            "num_real": int(is_real.sum()), "num_synthetic": int((~is_real).sum()),
            "above": resampled(len(mine), above, seed=0, value=above(np.arange(len(mine)))),
        }  # fmt: skip
    return found


def agreement_lines(facts: Mapping[str, Any], language: Language, *, own: str | None) -> list[str]:
    """The same in words."""

    def told(key: str, **values: object) -> str:
        return say(WORDS, f"rate.{key}", language, **values)

    def repeats(who: str, rows: Mapping[str, Any]) -> list[str]:
        return [
            told(
                "repeats", who=who, scale=told(scale), num=row["num"], difference=row["difference"],
                value=_interval(row["kappa"], told("unknown")),
            )
            for scale, row in rows.items()
        ]  # fmt: skip

    if own is not None:
        return repeats(told("you").capitalize(), facts["repeats"][own]) or [told("no_repeats")]
    if not facts["num"]:
        return [told("none_yet")]
    lines = [told("all", num=facts["num"], samples=facts["samples"], raters=sum(facts["raters"].values()))]
    for scale, row in facts["scales"].items():
        if row["icc"] is None:
            lines.append(told("no_icc", scale=told(scale)))
        else:
            word = next(word for least, word in LEVELS if row["icc"]["value"] >= least)
            lines.append(told("icc", scale=told(scale), word=told(word), **row["icc"]))
        lines[-1] += " " + told(row["role"], bar=BAR, least=LEAST)
        lines += [
            told(
                "kappa", scale=told(scale), one=pair["raters"][0], other=pair["raters"][1], num=pair["num"],
                value=_interval(pair["kappa"], told("unknown")),
            )
            for pair in row["pairs"]
        ]  # fmt: skip
    if (artefact := facts["artefact"]) is not None:
        lines.append(told("artefacts", num=artefact["num"], value=_interval(artefact, told("unknown"))))
    lines += [line for who, rows in facts["repeats"].items() for line in repeats(who, rows)]
    for who, row in facts["sensitivity"].items():
        lines.append(
            told(
                "sensitivity", who=who or told("everyone"), real=row["real"], drawn=row["synthetic"],
                num_real=row["num_real"], num_drawn=row["num_synthetic"], value=_interval(row["above"], ""),
            )
        )  # fmt: skip
    return lines if facts["sensitivity"] else [*lines, told("no_sensitivity")]


def _interval(row: Mapping[str, Any] | None, unknown: str) -> str:
    if row is None or row["value"] is None:
        return unknown
    bounds = "" if row["low"] is None else f" ({row['low']:.2f} - {row['high']:.2f})"
    return f"{row['value']:.2f}{bounds}"
