"""Ladders: prompts that differ from their neighbours in one thing, worded as the base was trained.

    start = start_of("Chest CT with a 20 mm nodule in the left lung.", seed=7, support=support)
    refusals(start, support)                     which changes cannot be, and why
    ladder(start, "size", support, num=4, low=12, high=36)

Where the start's own words can be kept they are: one side or size in them is exchanged. Else all steps are worded anew
by the phantoms' grammar, with that one of its draws in which they differ least. Either way the project's own finding
reader must read from each step just what was meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import numpy as np

from vesalius.data.modality import find_modality, modality_in
from vesalius.data.phantoms.phantom import ORGANS, RULES
from vesalius.data.phantoms.report import LANGUAGES
from vesalius.data.record import Finding, Side
from vesalius.data.tables.label_text import organ_in
from vesalius.data.texts.prompt import clean
from vesalius.demo.compare.ladder_labels import exchanged, labels_beside
from vesalius.demo.compare.ladder_words import Start, read, worded
from vesalius.demo.orders import MAX_GUIDANCE, MAX_NUM, SHORT_SEED, Ask
from vesalius.demo.page import Language, Words, say
from vesalius.demo.sentences import Refusal
from vesalius.improve.asking.grammar import MOST_SEVERAL_MM
from vesalius.inference.sample import sample_seed
from vesalius.models.support import Support

Change = Literal["normal", "left", "right", "bilateral", "sides", "finding", "size", "count", "guidance", "seed"]
CHANGES: tuple[Change, ...] = get_args(Change)
PAIRS = ("normal", "left", "right", "bilateral")
"""Changes that give two pictures: the start, and the changed one."""
SCALED = ("size", "count", "guidance")
"""Changes from one number to another."""
WORDS: Words = {
    "compare.normal": ("no finding", "无异常"),
    "compare.left": ("left", "左侧"),
    "compare.right": ("right", "右侧"),
    "compare.bilateral": ("both sides", "双侧"),
    "compare.start": ("as it was", "原描述"),
    "compare.mm": ("{mm} mm", "{mm} mm"),
    "compare.several": ("{num} × {kind}", "{kind} × {num}"),
    "compare.guidance_is": ("guidance {value:g}", "引导强度 {value:g}"),
    "compare.seed_is": ("seed {seed}", "种子 {seed}"),
    "compare.no_finding": (
        "The prompt asks for no finding that the base knows by kind, side and size.",
        "描述中没有模型按种类、侧别和大小认识的病变。",
    ),
    "compare.is_normal": ("The prompt asks for a normal picture already.", "描述本来就是正常图像。"),
    "compare.is_so": ("The prompt says so already.", "描述中已如此。"),
    "compare.no_side": ("Of {kind} the base learnt no side.", "模型没有学过{kind}的侧别。"),
    "compare.one_side": (
        "On both sides there are at least two of them, and the prompt asks for one {kind}.",
        "双侧{kind}至少有两个，而描述中只有一个。",
    ),
    "compare.no_size": ("Of {kind} the base learnt no sizes.", "模型没有学过{kind}的大小。"),
    "compare.no_count": ("Of {kind} the base learnt no numbers.", "模型没有学过{kind}的数目。"),
    "compare.too_large": (
        "The base saw several of them up to {mm} mm only; ask for smaller ones.",
        "模型只见过不超过 {mm} mm 的多发{kind}；请改小尺寸。",
    ),
    "compare.unseen": ("No training image of {modality} shows it.", "没有{modality}训练图像包含它。"),
    "compare.no_other": (
        "The base knows no other finding to put in its place.", "模型不认识可以替换的其他病变。",
    ),
    "compare.unreadable": (
        "No wording was found in which this one thing alone changes; make the prompt simpler.",
        "找不到只改变这一点的措辞；请把描述写得简单些。",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Step:
    """One picture of a ladder. guidance: where it is not the order's."""

    prompt: str
    seed: int
    label: str
    guidance: float | None = None


def start_of(prompt: str, *, seed: int, modality: str | None = None, support: Support | None = None) -> Start:
    """What a prompt asks for. ValueError where it names no modality."""
    text = clean(prompt)
    named = find_modality(modality) if modality else modality_in(text)
    if named is None:
        raise Refusal(
            "The prompt names no modality; begin it with one, such as 'Chest CT' or 'Brain MRI'",
            "描述中没有说明成像方式；请以它开头，如“胸部CT”或“脑部MRI”",
        )
    organ = organ_in(text)
    own = {ORGANS.get(named.name), *(("heart",) if named.name == "CT" else ()), None}
    findings = read(text, named.name) if organ in own else ()
    labelled = support is not None and bool(labels_beside(support, text, named.name))
    return Start(
        prompt=text, modality=named.name, seed=seed, findings=findings, organ=organ,
        is_grammar=named.name in RULES and organ in own and (bool(findings) or not labelled),
    )  # fmt: skip


def bounds(start: Start, change: Change) -> tuple[float, float]:
    """The least and the most of a change from one number to another."""
    if change == "guidance":
        return 1.0, MAX_GUIDANCE
    rule = RULES[start.modality][start.target.kind] if start.target else None
    if change == "count":
        return 1.0, float(rule.max_count if rule else 1)
    low, high = (rule.size_mm if rule else None) or (0, 0)
    several = start.target is not None and start.target.count > 1
    return float(low), float(min(high, MOST_SEVERAL_MM) if several else high)


def refusals(start: Start, support: Support | None, language: Language = "en") -> dict[Change, str]:
    """The changes that make no sense for a start, or that the base never saw, each with the reason."""
    found = {change: _refusal(start, change, support, language) for change in CHANGES}
    return {change: reason for change, reason in found.items() if reason}


def _refusal(start: Start, change: Change, support: Support | None, language: Language) -> str:
    target = start.target

    def no(key: str, **values: object) -> str:
        kind = kind_name(target.kind, language) if target else ""
        return say(WORDS, f"compare.{key}", language, **{"modality": start.modality, "kind": kind, **values})

    if change in ("guidance", "seed"):
        return ""
    if not start.is_grammar:
        others = labels_beside(support, start.prompt, start.modality) if support else ()
        if change not in ("normal", "finding"):
            return no("no_finding")
        return "" if _labelled(start, change, others, MAX_NUM) else no("no_other")
    if change == "finding":
        return "" if _other_kinds(start, support) else no("no_other")
    if target is None:
        return no("is_normal")
    if change == "normal":
        seen = support is None or support.ask(start.modality, finding="normal")
        return "" if seen else no("unseen")
    rule = RULES[start.modality][target.kind]
    if change == "size":
        return no("no_size") if rule.size_mm is None else ""
    if change == "count":
        if rule.max_count == 1:
            return no("no_count")
        if target.side == "bilateral" and rule.size_mm and rule.max_count == 2:
            return no("one_side")
        return no("too_large", mm=MOST_SEVERAL_MM) if (target.size_mm or 0) > MOST_SEVERAL_MM else ""
    if not rule.sides:
        return no("no_side")
    if change == "sides":
        return "" if len(_sides(start, support)) > 1 else no("no_side")
    if change == target.side:
        return no("is_so")
    if change not in rule.sides:
        return no("unseen")
    if change == "bilateral" and rule.size_mm and target.count < 2:
        return no("one_side")
    return "" if _seen(start, target.kind, change, support) else no("unseen")


def kind_name(kind: str, language: Language) -> str:
    """A kind in the reader's language."""
    terms = LANGUAGES["zh"].seen.terms
    return terms[kind].one[0] if language == "zh" and kind in terms else kind


def _seen(start: Start, kind: str, side: str | None, support: Support | None) -> bool:
    return support is None or support.ask(start.modality, finding=kind, side=side) > 0


def _sides(start: Start, support: Support | None) -> list[Side]:
    """The sides that the finding can have without anything else changing, its own first."""
    target = start.target
    rule = RULES[start.modality][target.kind] if target else None
    if target is None or rule is None:
        return []
    able = [s for s in rule.sides if s != "bilateral" or rule.size_mm is None or target.count > 1]
    sides = [cast(Side, s) for s in able if _seen(start, target.kind, s, support)]
    return sorted(sides, key=lambda side: side != target.side)


def _other_kinds(start: Start, support: Support | None) -> list[str]:
    """The kinds that could be there in place of the finding, those most seen first."""
    rules, present = RULES[start.modality], {f.kind for f in start.findings if f.present}
    side = start.target.side if start.target else None
    able = [k for k, rule in rules.items() if k not in present and (side is None or side in rule.sides)]
    if support is None:
        return able
    seen = {k: support.ask(start.modality, finding=k, side=side) for k in able}
    return sorted((k for k in able if seen[k]), key=lambda k: -seen[k])


# ------------------------------------------------------------------------------------------------ the steps


def ladder(
    start: Start, change: Change, support: Support | None, *, num: int = 4, low: float | None = None,
    high: float | None = None, guidance: float = 3.0, language: Language = "en",
) -> tuple[Step, ...]:  # fmt: skip
    """The steps of a change, at most `num` and at least two. ValueError where it cannot be, or the numbers are out of
    bounds."""
    if change not in CHANGES:
        raise Refusal(
            f"The change '{change}' is not known; expected one of {', '.join(CHANGES)}",
            f"未知的改变项“{change}”；应为 {'、'.join(CHANGES)} 之一",
        )
    if not 2 <= num <= MAX_NUM:
        raise Refusal(
            f"The number of steps is {num}; expected 2 to {MAX_NUM}", f"图像数量为 {num}；应为 2 至 {MAX_NUM}"
        )
    if reason := _refusal(start, change, support, "en"):
        raise Refusal(reason, _refusal(start, change, support, "zh"))
    numbers = _numbers(start, change, num, low, high) if change in SCALED else []
    if change == "guidance":
        return tuple(
            Step(prompt=start.prompt, seed=start.seed, guidance=g, label=_said("guidance_is", language, value=g))
            for g in numbers
        )
    if change == "seed":
        rest = [sample_seed(start.seed, start.prompt, i) % SHORT_SEED for i in range(1, num)]
        return tuple(
            Step(prompt=start.prompt, seed=s, label=_said("seed_is", language, seed=s)) for s in (start.seed, *rest)
        )
    if not start.is_grammar:
        assert support is not None
        others = labels_beside(support, start.prompt, start.modality)
        told = _labelled(start, change, others, num)
        return tuple(Step(prompt=text, seed=start.seed, label=word or _said("normal", language)) for word, text in told)
    wanted = _wanted(start, change, support, num, numbers, language)
    texts = worded(start, tuple(findings for findings, _ in wanted))
    if texts is None:
        raise Refusal.of(WORDS["compare.unreadable"])
    return tuple(
        Step(prompt=text, seed=start.seed, label=label) for text, (_, label) in zip(texts, wanted, strict=True)
    )


def _numbers(start: Start, change: Change, num: int, low: float | None, high: float | None) -> list[float]:
    """Numbers from low to high, evenly, without doubles; whole ones of millimetres and of counts."""
    least, most = bounds(start, change)
    first, last = least if low is None else low, most if high is None else high
    if change == "guidance" and high is None:
        last = max(first + 1, 8.0)
    if not least <= first < last <= most:
        raise Refusal(
            f"From {first:g} to {last:g}: expected two numbers, the lesser first, of {least:g} to {most:g}",
            f"从 {first:g} 到 {last:g}：应为 {least:g} 至 {most:g} 之间的两个数，较小的在前",
        )
    values = np.linspace(first, last, num)
    whole = np.round(values, 1) if change == "guidance" else np.rint(values)
    return list(dict.fromkeys(float(v) for v in whole))


def _wanted(
    start: Start, change: Change, support: Support | None, num: int, numbers: Sequence[float], language: Language
) -> list[tuple[tuple[Finding, ...], str]]:
    """What each step shows, and its label."""
    target = start.target

    def put(*, label: str, **facts: object) -> tuple[tuple[Finding, ...], str]:
        assert target is not None
        changed = replace(target, **facts)  # type: ignore[arg-type]
        return tuple(changed if f is target else f for f in start.findings), label

    own = start.findings, _own_label(start, change, language)
    if change == "normal":
        return [own, (tuple(f for f in start.findings if not f.present), _said("normal", language))]
    if change == "sides":
        return [put(side=side, label=_said(side, language)) for side in _sides(start, support)[:num]]
    if change in ("left", "right", "bilateral"):
        return [own, put(side=change, label=_said(change, language))]
    if change == "size":
        return [put(size_mm=mm, label=_said("mm", language, mm=f"{mm:g}")) for mm in numbers]
    if change == "count":
        assert target is not None
        kind = kind_name(target.kind, language)
        return [
            put(count=int(n), label=_said("several", language, num=int(n), kind=kind))
            for n in numbers
            if n > 1 or target.side != "bilateral" or RULES[start.modality][target.kind].size_mm is None
        ]
    kinds = _other_kinds(start, support)[: num - 1]
    return [own, *((_of_kind(start, kind), kind_name(kind, language)) for kind in kinds)]


def _own_label(start: Start, change: Change, language: Language) -> str:
    target = start.target
    if change == "finding" and target is None:
        return _said("normal", language)
    if target is not None and change in ("normal", "finding"):
        return kind_name(target.kind, language)
    return _said(target.side if target and target.side else "start", language)


def _of_kind(start: Start, kind: str) -> tuple[Finding, ...]:
    """The findings with another kind in the target's place, on its side, of its size where the kind can have it."""
    rule, target = RULES[start.modality][kind], start.target
    size = target.size_mm if target else None
    fits = size is not None and rule.size_mm is not None and rule.size_mm[0] <= size <= rule.size_mm[1]
    new = Finding(kind=kind, side=target.side if target else None, size_mm=size if fits else None)
    rest = tuple(f for f in start.findings if f is not target and f.kind != kind)
    return (new, *rest)


def _said(key: str, language: Language, **values: object) -> str:
    return say(WORDS, f"compare.{key}", language, **values)


def _labelled(start: Start, change: Change, others: Sequence[tuple[str, str, str]], num: int) -> list[tuple[str, str]]:
    """(words of the label, text) of the start and of what can be put in its label's place: the phrase alone changes."""
    chosen = [each for each in others if (each[1] == "normal") == (change == "normal")]
    texts = [(word, exchanged(start.prompt, phrase, word)) for phrase, _, word in chosen]
    told = [(word, text) for word, text in texts if text is not None]
    own = next((phrase for phrase, _, _ in others), "")
    return [(own, start.prompt), *told[: num - 1]] if told else []


def asks(steps: Sequence[Step], modality: str) -> tuple[Ask, ...]:
    """A ladder as what is drawn."""
    return tuple(
        Ask(prompt=s.prompt, seed=s.seed, modality=modality, label=s.label, guidance=s.guidance) for s in steps
    )
