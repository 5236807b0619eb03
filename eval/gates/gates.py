"""Gates: why a sample is refused, or silence. Every limit is an order statistic of scores of real images.

A limit rests on real images that the generator never saw (those of pixels, which nobody learned, on the training images
too), and says which share of unseen real images it would refuse. A question that the judge answers no better than by
chance on real images is not asked: the gate abstains, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from vesalius.data.modality import find_modality
from vesalius.eval.fidelity.metrics import share
from vesalius.eval.gates.scores import MEASURES, Scores
from vesalius.inference.sample import Sample

GREYSCALE = ", greyscale"
MIN_REAL = 5
"""Held-out images of a modality below which there are no limits."""
FEWEST = 10
"""Held-out images that a question was asked of below which it is not asked of samples."""
MOST_REFUSED = 0.05
"""Share of unseen real images, at one end, that a limit may be expected to refuse; where so few set it that it would be
more, there is none, save of `NEEDED`."""
NEEDED = ("range", "modality", "copy", "text")
"""Gates whose limits hold however few images set them: what they let in by error does harm."""
BLANK = 4.0
"""Contrast, of 127, under which a picture is blank whatever real ones are."""
SAME = 1e-3
"""Share of the median distance below which a held-out image is one of the training images, and sets no limit."""
HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a score becomes a limit of a gate.

    tail: which extreme is refused. share: of unseen real images that may be refused at that end. low, high: what is
    wrong below and above the limit. chance: the value that a coin would give, of a question that can be answered
    wrongly; None where a score is no such question. cap: no limit from below is higher than that, since a judge who is
    never wrong on real images may still be a little less sure of drawn ones. slack: how far beyond real images the
    limit of a measure lies, for the same reason.
    """

    gate: str
    tail: Literal["low", "high", "both"]
    share: float
    low: str = ""
    high: str = ""
    chance: float | None = None
    cap: float = math.inf
    slack: float = 0.0


def _pixels(tail: Literal["low", "high", "both"], slack: float, *, low: str = "", high: str = "") -> Rule:
    return Rule(gate="range", tail=tail, share=0.005, slack=slack, low=low, high=high)


def _question(gate: str, low: str, chance: float = 0.0) -> Rule:
    return Rule(gate=gate, tail="low", share=0.05, low=low, chance=chance, cap=chance)


_SIDE = "agrees better with the other side"
RULES: dict[str, Rule] = {
    "contrast": _pixels("both", 10, low="little contrast", high="harsh contrasts"),
    "black": _pixels("high", 0.05, high="more of it is black"),
    "white": _pixels("high", 0.05, high="more of it is pure white"),
    "darkest": _pixels("high", 15, high="its darkest parts are too bright"),
    "brightest": _pixels("low", 15, low="its brightest parts are too dark"),
    "roughness": _pixels("high", 0.05, high="noisier"),
    "grain": _pixels("high", 0.05, high="noisier, at 256 pixels"),
    "colour": _pixels("both", 10, low="paler", high="more colourful"),
    "hu_low": _pixels("low", 100, low="its darkest parts lie below real ones, in HU"),
    "hu_high": _pixels("high", 100, high="its brightest parts lie above real ones, in HU"),
    "modality": Rule(gate="modality", tail="low", share=0.02, low="does not look like its modality", cap=HALF),
    "organ_margin": _question("organ", "looks rather like another organ"),
    "side_margin": _question("side", _SIDE),
    "side": _question("side", _SIDE),
    "both sides": _question("side", "one of two sides asked for is not seen"),
    "negation_margin": _question("negation", "agrees better with the text when a finding is denied or added"),
    "finding_margin": _question("exchange", "agrees better with the text when a finding is exchanged"),
    "other_margin": Rule(
        gate="prompt", tail="low", share=0.05, low="agrees with its prompt hardly more than with others", chance=0
    ),
    "shows": _question("findings", "a finding asked for is not seen", HALF),
    "lacks": _question("findings", "a finding denied is seen", HALF),
    "label_margin": _question("findings", "looks rather like another diagnosis"),
    "agreement": Rule(gate="agreement", tail="low", share=0.05, low="agrees with its prompt less"),
    "nearest_train": Rule(gate="copy", tail="low", share=0.02, low="lies nearer to a training image"),
    "nearest_pixels": Rule(gate="copy", tail="low", share=0.02, low="its pixels lie nearer to a training image's"),
    "typical_distance": Rule(
        gate="typical", tail="both", share=0.02, low="more average than any real image", high="unlike real images"
    ),
    "words": Rule(gate="text", tail="high", share=0.01, high="there is writing in it: words"),
}
"""By the name of a score, without the finding that it is about (`shows` of `shows CT/nodule`)."""
FULL = round(1 / min(rule.share for name, rule in RULES.items() if name not in MEASURES)) - 1
"""Held-out images of a modality from which on no limit is expected to refuse more than its share."""
GROUPS = ("shows", "lacks", "side", "both sides")
"""Scores that name a finding. Where too few held-out images were asked of one kind, all kinds set its limit."""
ALWAYS = ("modality", "organ_margin", "words")
"""Scores that every picture should have: where one lacks, its gate could not tell."""
GATES = ("readable", "veto", *dict.fromkeys(rule.gate for rule in RULES.values()))
"""In the order in which they give a reason."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What one score of a modality is held to, and what that rests on.

    least, most: the limits, None where there is none. num: real images. refused, refused_at_most: the expected share of
    unseen real images that it refuses (k / (n + 1) of the k-th of n), and the upper end of that (95 %, one-sided).
    right, right_low: of a question, the share of these images that were answered right, with the lower end of its
    interval. passes_false: the share of them that would pass under the false answer. abstains: why it refuses nothing.
    """

    least: float | None = None
    most: float | None = None
    num: int
    refused: float = 0.0
    refused_at_most: float = 0.0
    right: float | None = None
    right_low: float | None = None
    passes_false: float | None = None
    abstains: str = ""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The limits of a modality by score. num: held-out images that they rest on.

    family: of its pictures, as `vesalius.eval.features.ImageSet` tells them apart: CT in Hounsfield units and greyscale
    CT are as unlike as two modalities. other: those of the second family, where both are there.
    """

    limits: Mapping[str, Limit]
    num: int
    family: str = ""
    other: Thresholds | None = None

    def of(self, family: str) -> Thresholds | None:
        """Those of a family, None where no held-out images of it are there."""
        return self if self.family in ("", family) else self.other.of(family) if self.other is not None else None

    def least(self, score: str) -> float:
        """The lower limit of a score; minus infinity where there is none."""
        limit = self.limits.get(score)
        return -math.inf if limit is None or limit.least is None else limit.least

    def told(self, scores: Scores) -> dict[str, list[float | None]]:
        """The least and most of each of these scores that is held to a limit."""
        held = {name: limit_of(self.limits, name) for name in scores}
        return {n: [limit.least, limit.most] for n, limit in held.items() if limit is not None and not limit.abstains}

    @property
    def nearest_low(self) -> float:
        """Distance in the judge's embedding below which a picture is a copy; of two samples half of it is a double."""
        return max(0.0, self.least("nearest_train"))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A sample, its scores, and why it was refused: a row of a round's `verdicts.jsonl`."""

    sample: Sample
    """the sample, of which its row tells all columns"""
    scores: Scores
    """number by name, as `vesalius.eval.Scorer` makes them"""
    reason: str | None
    """why it was refused, which begins with the gate's name; null: it was accepted"""
    refused_by: tuple[str, ...] = ()
    """all gates that object, of which the first gives the reason"""
    abstained: tuple[str, ...] = ()
    """gates that could not tell"""

    def to_json(self) -> dict[str, Any]:
        """The row on disk: file name and sha256 of the sample, the verdict, and each score under its own name."""
        return {
            "file_name": self.sample.file_name, "sha256": self.sample.sha256, "reason": self.reason,
            "refused_by": list(self.refused_by), "abstained": list(self.abstained), **self.scores,
        }  # fmt: skip


def check_enough(modality: str, num: int, where: str) -> None:
    """ValueError where too few real images of a modality are there to set thresholds by."""
    if num < MIN_REAL:
        raise ValueError(
            f"only {num} {where} images of {modality}; thresholds need at least {MIN_REAL}, and from {FULL} on each "
            "refuses no more unseen real images than it is meant to: add some to that split"
        )


def group_of(score: str) -> str:
    """What a score asks, of whatever kind of finding: `shows` of `shows CT/nodule`. Else the score itself."""
    return next((group for group in GROUPS if score.startswith(f"{group} ")), score)


def rule_of(score: str) -> Rule | None:
    """The rule of a score; None where it is only told, and gates nothing."""
    return RULES.get(group_of(score))


def limit_of(limits: Mapping[str, Limit], score: str) -> Limit | None:
    """The limit of a score; of a kind that no held-out image shows that of all kinds together."""
    return limits.get(score) or limits.get(group_of(score))


def family_of(sample: Sample) -> str:
    """The family of a sample's picture."""
    greyscale = bool(find_modality(sample.modality).windows) and sample.raw16 is None
    return f"{sample.modality}{GREYSCALE * greyscale}"


def calibrate(
    families: Sequence[str],
    scores: Sequence[Scores],
    *,
    seen: tuple[Sequence[str], Sequence[Scores]] = ((), ()),
) -> dict[str, Thresholds]:
    """Thresholds by modality from the scores of held-out real images of these families. ValueError where a modality has
    fewer than 5 images; a second family that has fewer is left out.

    seen: families and measures of training images, which limits of pixels may rest on too. A row may lack all but some
    scores, as that of the same picture under another of its texts.
    """
    found: dict[str, Thresholds] = {}
    for family in sorted(set(families)):
        mine = [s for f, s in zip(families, scores, strict=True) if f == family]
        num, modality = sum("contrast" in row for row in mine), family.removesuffix(GREYSCALE)
        total = sum(
            "contrast" in s for f, s in zip(families, scores, strict=True) if f.removesuffix(GREYSCALE) == modality
        )
        check_enough(modality, total, "held-out")
        if num < MIN_REAL:
            continue
        more = [s for f, s in zip(*seen, strict=True) if f == family]
        limits: dict[str, Limit] = {}
        names = {name for row in mine for name in row}
        for name in sorted(names | {group_of(name) for name in names}):  # a group before what is in it
            rule = rule_of(name)
            if rule is None:
                continue
            rows = [*mine, *more] if name in MEASURES else mine
            values = [row[n] for row in rows for n in row if name in (n, group_of(n))]
            limits[name] = _limit(name, rule, values, mine)
            if len(values) < FEWEST:
                limits[name] = limits.get(group_of(name), limits[name])
        found[modality] = Thresholds(limits=limits, num=num, family=family, other=found.get(modality))
    return found


def _limit(name: str, rule: Rule, values: Sequence[float], rows: Sequence[Scores]) -> Limit:
    """The limit of one score from its values on real images."""
    values = sorted(v for v in values if math.isfinite(v))
    if rule.gate == "copy" and values:
        values = [v for v in values if v > SAME * values[len(values) // 2]]
    if len(values) < (MIN_REAL if rule.chance is None else FEWEST):
        return Limit(num=len(values), abstains=_few(len(values)))
    num, (place, refused, bound) = len(values), order_statistic(len(values), rule.share)
    if refused > MOST_REFUSED and rule.cap == math.inf and rule.gate not in NEEDED:
        return Limit(num=num, abstains=_few(num))
    least = min(values[place - 1] - rule.slack, rule.cap) if rule.tail != "high" else None
    most = values[num - place] + rule.slack if rule.tail != "low" else None
    ends = 2 if rule.tail == "both" else 1
    limit = Limit(
        least=least, most=most, num=num, refused=ends * refused, refused_at_most=min(1.0, ends * bound)
    )  # fmt: skip
    if rule.chance is None:
        return limit
    assert least is not None
    right, low = _right(name, rule.chance, values, rows)
    false = _false(name, rule.chance, values, rows)
    told = f"the judge answers this right in {right:.0%} of {num} real images, no better than by chance"
    return replace(
        limit, right=right, right_low=low, passes_false=sum(v >= least for v in false) / len(false) if false else None,
        abstains=told if low <= HALF else "",
    )  # fmt: skip


def _few(num: int) -> str:
    return f"{num} held-out real images are too few to set a limit by"


def _others(name: str, rows: Sequence[Scores]) -> list[float] | None:
    """Of a finding what those pictures score that are said to lack it, or to show it, else None."""
    group = group_of(name)
    other = {"shows": "lacks", "lacks": "shows"}.get(group)
    if other is None:
        return None
    opposite = f"{other}{name.removeprefix(group)}"
    return [row[n] for row in rows for n in row if opposite in (n, group_of(n))]


def _false(name: str, chance: float, values: Sequence[float], rows: Sequence[Scores]) -> list[float]:
    """What pictures score under the false answer: of a finding those of whom the opposite is true, of a margin between
    two texts the same pictures with the texts exchanged; nothing where the other texts are many."""
    others = _others(name, rows)
    if others is not None:
        return [1 - v for v in others]
    return [] if name == "other_margin" else [2 * chance - v for v in values]


def _right(name: str, chance: float, values: Sequence[float], rows: Sequence[Scores]) -> tuple[float, float]:
    """Share of right answers with the lower end of its interval; of a finding the mean of those who show it and those
    who are said to lack it, so that a judge who always says yes is no better than chance."""
    own, others = share([v > chance for v in values]), _others(name, rows)
    if not others:
        return own.value, own.low
    both = share([v > chance for v in others])
    value = (own.value + both.value) / 2
    return value, value - math.hypot(own.value - own.low, both.value - both.low) / 2


def order_statistic(num: int, most: float) -> tuple[int, float, float]:
    """(k, share, bound): the k-th of so many values beyond which at most a share `most` of further ones is expected.

    Beyond the k-th of n lies a share of Beta(k, n - k + 1): k / (n + 1) in the mean (Wilks 1941), `bound` at most with
    95 % confidence. Where n is too small for `most` it is the first: nothing is extrapolated beyond the extreme.
    """
    from scipy.stats import beta

    place = max(1, math.floor(most * (num + 1) + 1e-9))
    return place, place / (num + 1), float(beta.ppf(0.95, place, num - place + 1))


def objection(name: str, value: float, limits: Mapping[str, Limit], modality: str) -> str | None:
    """What is wrong with a score, in words, or None."""
    rule, limit = rule_of(name), limit_of(limits, name)
    if rule is None or limit is None or limit.abstains:
        return "nearly blank" if name == "contrast" and value < BLANK else None
    if name == "words" and value < 0:
        return "could not be searched for writing"
    if math.isnan(value):
        return f"'{name}' could not be computed"
    if (limit.least is not None and value < limit.least) or (name == "contrast" and value < BLANK):
        return f"{rule.low}{_about(name)} ({_told(value)}; {_by(limit, modality)} {_told(limit.least)} or more)"
    if limit.most is not None and value > limit.most:
        return f"{rule.high}{_about(name)} ({_told(value)}; {_by(limit, modality)} {_told(limit.most)} or less)"
    return None


def _by(limit: Limit, modality: str) -> str:
    return f"{math.floor(100 * (1 - limit.refused))} % or more of real {modality} images have"


def _about(name: str) -> str:
    """What a score is about, where its name says more than that of its rule."""
    return f": {name.split('/', 1)[1]}" if "/" in name else ""


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def judge_sample(
    sample: Sample,
    scores: Scores,
    thresholds: Mapping[str, Thresholds],
    *,
    fault: str | None = None,
    veto: Collection[str] = (),
) -> Verdict:
    """Hold a sample to the gates: the first that objects gives the reason, by name; silence of all is acceptance.

    fault: why its picture cannot be read, in which case it has no scores. veto: digests that people refused.
    """
    objections: dict[str, str] = {}
    abstained: set[str] = set()
    of, family = thresholds.get(sample.modality), family_of(sample)
    known = None if of is None else of.of(family)
    if fault is not None:
        objections["readable"] = fault
    if sample.sha256 and sample.sha256 in veto:
        objections["veto"] = "a person refused it"
    if known is None:
        objections["modality"] = f"no held-out real {family} images to compare with"
    else:
        told: set[str] = set()
        for name, value in scores.items():
            rule = rule_of(name)
            if rule is None:
                continue
            said = objection(name, value, known.limits, sample.modality)
            if said is not None:
                objections.setdefault(rule.gate, said)
            limit = limit_of(known.limits, name)
            (abstained if limit is None or limit.abstains else told).add(rule.gate)
        abstained |= {RULES[name].gate for name in ALWAYS if name not in scores and fault is None}
        abstained -= told
    first = next((gate for gate in GATES if gate in objections), None)
    return Verdict(
        sample=sample, scores=scores, reason=None if first is None else f"{first}: {objections[first]}",
        refused_by=tuple(g for g in GATES if g in objections), abstained=tuple(g for g in GATES if g in abstained),
    )  # fmt: skip
