"""Prompts by combination: every one of a grid of words, and ladders that change one thing.

    grid_prompts(("modality=CT", "finding=nodule,mass"), ("side=left,right",))

The words are those of the phantoms' captions, which training used, so a prompt says its findings in a wording that a
model knows, and what a picture should show is known too.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

import numpy as np

from vesalius.data.modality import find_modality
from vesalius.data.phantoms.phantom import KINDS, RULES, check_finding
from vesalius.data.phantoms.report import LANGUAGES
from vesalius.data.record import Finding, Side
from vesalius.data.texts.wording import reword
from vesalius.inference.prompts.read import Prompt

KEYS = ("modality", "finding", "side", "size", "count", "language")
NONE = "none"
"""finding=none is the normal picture; side=none and size=none leave it open."""
MOST = 100_000
"""Combinations of one grid."""
WORDINGS = 24
"""Wordings of a ladder that are compared, so that its prompts differ in little but the one thing."""

Point = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The prompts of a grid, and the combinations that cannot be, each with the reason."""

    prompts: tuple[Prompt, ...]
    """in order, each with the findings that it asks for"""
    left_out: tuple[str, ...] = ()
    """a sentence for each combination that cannot be"""

    def note(self) -> str | None:
        """One line on what was left out."""
        if not self.left_out:
            return None
        shown, rest = "; ".join(self.left_out[:4]), len(self.left_out) - 4
        return f"left out, as they cannot be: {shown}{f'; and {rest} more' if rest > 0 else ''}"


def grid_prompts(grid: Sequence[str], vary: Sequence[str] = (), *, seed: int = 0, modality: str | None = None) -> Grid:
    """Each combination of `grid` as a prompt; with `vary`, each combination as one ladder for each thing varied.

    Both are "key=word,word" with keys of `KEYS`; size is in millimetres. Without modality in the grid (or `modality`,
    that of all) it is every one that can have the finding. seed: of the wordings. ValueError for a word that is not
    known, with the nearest one that is, for a key named twice, and where nothing can be drawn.
    """
    fixed, changing = _axes(grid, "--grid"), _axes(vary, "--vary")
    if twice := [key for key in fixed if key in changing]:
        raise ValueError(f"--vary {twice[0]}=...: --grid has {twice[0]} too; keep it in one of them")
    if modality and "modality" in (*fixed, *changing):
        raise ValueError(f"--modality {modality}: --grid or --vary has modality=... too; keep one of them")
    if modality:
        fixed = {"modality": _axis("modality", [modality], "--modality"), **fixed}
    for key in ("side", "size", "count"):
        if key in fixed and "finding" not in (*fixed, *changing):
            raise ValueError(f"--grid {key}=... needs a finding: add finding=... ({', '.join(_kinds())})")
        if key in changing and "finding" not in fixed:
            raise ValueError(f"--vary {key}=...: name the finding in --grid finding=..., so that {key} alone changes")
    if math.prod(map(len, (*fixed.values(), *changing.values()))) > MOST:
        raise ValueError(f"--grid and --vary make over {MOST} combinations; give fewer words")
    prompts, left_out = _ladders(fixed, changing, seed) if changing else _singles(fixed, seed)
    if not prompts:
        raise ValueError(f"--grid and --vary: nothing can be drawn: {'; '.join(left_out[:4])}")
    return Grid(prompts=tuple(prompts), left_out=tuple(dict.fromkeys(left_out)))


def _axes(words: Sequence[str], flag: str) -> dict[str, list[str]]:
    """The values of each key, checked and as the project spells them. ValueError as `grid_prompts`."""
    axes: dict[str, list[str]] = {}
    for word in words:
        key, equals, told = word.partition("=")
        key = key.strip().lower()
        if not equals or key not in KEYS:
            raise ValueError(f"{flag} '{word}': expected key=word,word{_near(key, KEYS)} ({', '.join(KEYS)})")
        if key in axes:
            raise ValueError(f"{flag} {key} is there twice; write its words in one, {key}=a,b")
        values = [" ".join(v.replace("_", " ").split()) for v in told.split(",")]
        axes[key] = _axis(key, values, flag)
    return axes


def _axis(key: str, values: Sequence[str], flag: str) -> list[str]:
    if not all(values):
        raise ValueError(f"{flag} {key}: an empty word; expected {key}=word,word")
    return list(dict.fromkeys(_word(key, value, f"{flag} {key}={value}") for value in values))


def _word(key: str, value: str, where: str) -> str:
    """A word as the project spells it. ValueError begins with `where` and names the nearest one."""
    low = value.lower()
    if key == "modality":
        try:
            low = find_modality(value).name
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if low not in RULES:
            raise ValueError(f"{where}: findings are known of {', '.join(RULES)}; write other prompts out (--prompts)")
        return low
    if key in ("size", "count"):
        if key == "size" and low == NONE:
            return NONE
        number = low.removesuffix("mm").strip()
        if not re.fullmatch(r"\d{1,4}(\.\d)?" if key == "size" else r"\d{1,3}", number):
            raise ValueError(f"{where}: expected {'millimetres' if key == 'size' else 'a whole number'}, such as 2")
        return f"{float(number):g}"
    choices = {
        "finding": (NONE, *_kinds()), "side": (NONE, *get_args(Side)), "language": tuple(LANGUAGES),
    }[key]  # fmt: skip
    low = {"normal": NONE, "any": NONE}.get(low, low).replace("-", " ")
    if low not in choices:
        raise ValueError(f"{where} is not known{_near(low, choices)} ({', '.join(choices)})")
    return low


def _kinds() -> tuple[str, ...]:
    return tuple(dict.fromkeys(kind for kinds in KINDS.values() for kind in kinds))


def _near(word: str, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.4)
    return f"; did you mean '{near[0]}'?" if near else ""


def _points(axes: Mapping[str, Sequence[str]], findings: Sequence[str]) -> Iterator[Point]:
    """Every combination; where none names a modality, in each that can have one of the findings."""
    fits = [m for m, kinds in KINDS.items() if {*findings} & {*kinds}] or list(KINDS)
    whole = {key: axes[key] for key in KEYS if key in axes}
    for values in itertools.product(*whole.values()):
        point = dict(zip(whole, values, strict=True))
        if "modality" in point:
            yield point
            continue
        kind = point.get("finding", NONE)
        for modality in fits if kind == NONE else [m for m, kinds in KINDS.items() if kind in kinds]:
            yield {"modality": modality, **point}


def _singles(axes: Mapping[str, Sequence[str]], seed: int) -> tuple[list[Prompt], list[str]]:
    prompts: dict[tuple[Any, ...], Prompt] = {}
    left_out: list[str] = []
    for point in _points(axes, axes.get("finding", ())):
        findings = _findings(point)
        if isinstance(findings, str):
            left_out.append(findings)
            continue
        key = (point["modality"], point.get("language"), findings)  # without a finding there is no side to tell apart
        text = _text(point, findings, seed, zlib.crc32(repr(sorted(_told(point).items())).encode()))
        prompts.setdefault(key, Prompt(text=text, modality=point["modality"], findings=findings))
    return list(prompts.values()), left_out


def _ladders(
    fixed: Mapping[str, Sequence[str]], changing: Mapping[str, Sequence[str]], seed: int
) -> tuple[list[Prompt], list[str]]:
    prompts: dict[str, list[Prompt]] = {}
    left_out: list[str] = []
    kinds = (*fixed.get("finding", ()), *changing.get("finding", ()))
    for key, values in changing.items():
        for point in _points(fixed, kinds) if key != "modality" else map(dict, _combinations(fixed)):
            steps = {value: _findings({**point, key: value}) for value in values}
            left_out += [why for why in steps.values() if isinstance(why, str)]
            rungs = {v: f for v, f in steps.items() if not isinstance(f, str)}
            told = _told(point) if key != "finding" else point
            group = f"{_slug(*told.values())}-by-{key}".lstrip("-")
            if len(rungs if key in ("language", "modality") else {*rungs.values()}) < 2:
                left_out.append(f"{group}: too few to compare")
                continue
            prompts.setdefault(group, _ladder(group, key, point, rungs, seed))
    return [prompt for ladder in prompts.values() for prompt in ladder], left_out


def _combinations(axes: Mapping[str, Sequence[str]]) -> Iterator[Point]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _ladder(group: str, key: str, point: Point, rungs: Mapping[str, tuple[Finding, ...]], seed: int) -> list[Prompt]:
    """The prompts of one ladder, in the wording in which they are most alike."""
    points = [{**point, key: value} for value in rungs]
    place = zlib.crc32(group.encode())

    def worded(turn: int) -> list[str]:
        return [_text(p, f, seed, place, turn) for p, f in zip(points, rungs.values(), strict=True)]

    def likeness(texts: list[str]) -> float:
        pairs = itertools.pairwise([text.split() for text in texts])
        return sum(difflib.SequenceMatcher(None, one, other).ratio() for one, other in pairs)

    texts = max(map(worded, range(WORDINGS)), key=likeness)
    return [
        Prompt(text=text, modality=p["modality"], findings=findings, group=group, value=_slug(value))
        for text, p, (value, findings) in zip(texts, points, rungs.items(), strict=True)
    ]


def _told(point: Point) -> Point:
    """What is said of a combination: of a normal picture no side, size or count."""
    normal = point.get("finding", NONE) == NONE
    return {k: v for k, v in point.items() if v != NONE and not (normal and k in ("side", "size", "count"))}


def _findings(point: Point) -> tuple[Finding, ...] | str:
    """What a combination shows, or why it cannot be. A normal picture shows no kind of its modality."""
    told, kinds = _told(point), KINDS[point["modality"]]
    if "finding" not in told:
        return tuple(Finding(kind=kind, present=False) for kind in kinds)
    if told["finding"] not in kinds:
        return f"{told['finding']} in {point['modality']}"
    side = cast(Side | None, told.get("side"))
    size = float(told["size"]) if "size" in told else None
    finding = Finding(kind=told["finding"], side=side, size_mm=size, count=int(told.get("count", 1)))
    try:
        check_finding(finding, point["modality"])
    except ValueError as error:
        return str(error)
    return (finding,)


def _text(point: Point, findings: tuple[Finding, ...], seed: int, *place: int) -> str:
    """A caption of what is present, a function of seed and place."""
    present = tuple(f for f in findings if f.present)
    rng = np.random.default_rng([abs(seed), *place])
    return reword(present, point["modality"], rng, language=point.get("language", "en"), kind="caption")


def _slug(*words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")
