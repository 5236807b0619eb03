"""What ratings do to samples: any rater's low one keeps a sample out, and where raters agree they weigh the others.

A rating can only do to a sample what it says. Its rater's level weighs nothing. How strict or lenient a rater is, and
whether raters agree at all, is taken from other samples alone, so a lower rating never raises the weight of what it was
given to; and the correction is under half a step, so it never turns a lower step into a higher one.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vesalius.improve.people.agreement import Scores, rewarded, told_scores, weighed
from vesalius.improve.people.ratings import SCALES, Rating

NEUTRAL = 4.0
"""The step at which a sample weighs as one that nobody rated; a step more doubles its weight, one less halves it."""
MOST_SHIFT = 0.49
"""Largest correction of a step for how its rater uses the scale."""
PRIOR = 10
"""Ratings that it takes until a rater's own habit counts as much as the assumption that there is none."""
DOUBT = 0.5
"""Factor of a sample that someone would not teach with, or saw a minor artefact in, whether raters agree or not."""
LEAST_WEIGHT, MOST_WEIGHT = 0.1, 2.0


def vetoes(ratings: Iterable[Rating]) -> dict[str, str]:
    """Digest -> why that sample is kept out: the worst that anyone, of any level, said of it."""
    worst: dict[str, tuple[int, str, str]] = {}
    for each in ratings:
        if each.low is not None:
            said = (*each.low, f"by {each.rater}" + (f", {each.level}" if each.level else ""))
            worst[each.sha256] = min(worst.get(each.sha256, said), said)
    return {
        digest: f"ratings: {f'{scale} {step} of 5' if step else 'major artefact'} {by}"
        for digest, (step, scale, by) in sorted(worst.items())
    }


def weights(ratings: Sequence[Rating], digests: Iterable[str]) -> dict[str, float]:
    """Digest -> how often a sample is drawn in training, 1 as one that nobody rated: 0 of one that is vetoed, and where
    raters agree (`agreement.BAR`) twice as much for every step."""
    out = vetoes(ratings)
    found = {digest: 0.0 if digest in out else 1.0 for digest in digests}
    asked = [r for r in ratings if r.sha256 in found]
    scores: dict[str, list[float]] = defaultdict(list)
    for scale in SCALES:
        first = told_scores(weighed(ratings), scale)
        passed, otherwise = rewarded(first)
        if not passed and not otherwise:
            continue
        habits = _habits(first)
        for digest, said in lowest_scores(asked, scale).items():
            if passed != (digest in otherwise):
                steps = [habits.corrected(step, rater, digest) for rater, step in said.items()]
                scores[digest].append(sum(steps) / len(steps))
    for digest, means in scores.items():
        found[digest] *= 2 ** (sum(means) / len(means) - NEUTRAL)
    for digest in {r.sha256 for r in asked if r.teach is False or r.artefact == "minor"}:
        found[digest] *= DOUBT
    return {d: round(min(max(w, LEAST_WEIGHT), MOST_WEIGHT), 6) if w else 0.0 for d, w in found.items()}


def preferred(ratings: Iterable[Rating]) -> list[tuple[str, str]]:
    """Pairs of digests (better, worse) that more raters saw so than the other way round; ties and draws are left out,
    and a better one that somebody vetoed. Each rater has one voice on a pair, of whatever level."""
    known = list(ratings)
    voices: dict[tuple[str, str], dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for each in known:
        if each.other and each.preference:
            pair = (min(each.sha256, each.other), max(each.sha256, each.other))
            won = {"first": each.sha256, "second": each.other, "tie": ""}[each.preference]
            voices[pair][each.rater][won] += 1
    out, found = vetoes(known), []
    for (one, other), raters in sorted(voices.items()):
        lead = sum((v[one] > v[other]) - (v[other] > v[one]) for v in raters.values())
        better, worse = (one, other) if lead > 0 else (other, one)
        if lead and better not in out:
            found.append((better, worse))
    return found


def lowest_scores(ratings: Iterable[Rating], scale: str) -> Scores:
    """The lowest that each rater said of each sample on a scale, repeats too."""
    found: Scores = defaultdict(dict)
    for each in ratings:
        value = getattr(each, scale)
        if value is not None:
            said = found[each.sha256]
            said[each.rater] = min(said.get(each.rater, float(value)), float(value))
    return {digest: dict(sorted(said.items())) for digest, said in sorted(found.items())}


@dataclass
class _Sums:
    """Number, sum and sum of squares of steps, and over samples that others rated too the number and the sum of
    differences to their mean."""

    num: int = 0
    total: float = 0.0
    squares: float = 0.0
    shared: int = 0
    apart: float = 0.0

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(
            self.num - other.num, self.total - other.total, self.squares - other.squares, self.shared - other.shared,
            self.apart - other.apart,
        )  # fmt: skip

    def add(self, other: _Sums) -> None:
        self.num, self.total, self.squares = (
            self.num + other.num,
            self.total + other.total,
            self.squares + other.squares,
        )
        self.shared, self.apart = self.shared + other.shared, self.apart + other.apart

    @property
    def mean(self) -> float:
        return self.total / self.num if self.num else NEUTRAL

    def variance(self, usual: float) -> float:
        """Shrunk towards a usual one."""
        return (max(self.squares - self.num * self.mean**2, 0.0) + PRIOR * usual) / (self.num + PRIOR)


@dataclass
class _Habits:
    """How raters use a scale: offset and spread, shrunk towards those of all (a hierarchical model's estimates, with
    a prior of `PRIOR` ratings)."""

    all: _Sums = field(default_factory=_Sums)
    raters: dict[str, _Sums] = field(default_factory=lambda: defaultdict(_Sums))
    samples: dict[str, _Sums] = field(default_factory=lambda: defaultdict(_Sums))
    said: dict[tuple[str, str], _Sums] = field(default_factory=dict)

    def corrected(self, step: float, rater: str, digest: str) -> float:
        """A step as one of an average rater, at most `MOST_SHIFT` from it; what was said of this sample is left out of
        what is known of its rater. Grows with the step."""
        everyone = self.all - self.samples.get(digest, _Sums())
        own = self.raters.get(rater, _Sums()) - self.said.get((rater, digest), _Sums())
        offset = own.apart / (own.shared + PRIOR)
        centre = everyone.mean
        usual = everyone.variance(1.0)  # some spread on five steps, where hardly anybody has rated yet
        moved = centre + (step - offset - centre) * math.sqrt(usual / own.variance(usual))
        return min(max(moved, step - MOST_SHIFT), step + MOST_SHIFT)


def _habits(scores: Scores) -> _Habits:
    found = _Habits()
    for digest, said in scores.items():
        for rater, step in said.items():
            others = [v for r, v in said.items() if r != rater]
            apart = step - sum(others) / len(others) if others else 0.0
            each = _Sums(1, step, step * step, int(bool(others)), apart)
            found.said[rater, digest] = each
            for sums in (found.all, found.raters[rater], found.samples[digest]):
                sums.add(each)
    return found
