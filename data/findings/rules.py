"""What the words around a finding say of it: status, side, size and count, one sentence at a time."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from vesalius.data.findings.words import UNSIDED, Cue

Status = Literal["present", "absent", "uncertain"]

_AT = frozenset(
    (
        "in", "on", "at", "of", "within", "involving", "throughout", "to", "along", "near", "overlying", "inside",
        "于", "在", "见于", "位于",
    )
)  # fmt: skip
_TURNS = frozenset(("but", "however", "although", "though", "while", "whereas", *"但而余除", "但是", "其余", "然而"))
_COLON = (":", "：")
_FINE = frozenset(("clear", "normal", "unremarkable", "intact"))
_ONE = frozenset(("is", "has", "was"))
_NOT_A_COUNT = frozenset(
    ("segment", "level", "grade", "type", "stage", "figure", "image", "series", "rads", "case", "zone", "day")
)


@dataclass(kw_only=True)
class Item:
    """A phrase of a sentence.

    role: "kind", "normal" (denies a kind as a whole), "side", "count", "size", "comma" or "word". value: which one.
    cues: what the phrase does to its neighbours. many: a plural. text: the words. start, end: their place in the text.
    The other fields are what the sentence says of a kind; status None: it says nothing of the image.
    """

    role: str
    value: str | int | float
    cues: frozenset[Cue]
    text: str
    start: int
    end: int
    many: bool = False
    status: Status | None = "present"
    side: str | None = None
    size_mm: float | None = None
    count: int | None = 1

    def has(self, *cues: Cue) -> bool:
        """Whether the phrase is any of these cues."""
        return not self.cues.isdisjoint(cues)


def settle(items: Sequence[Item], chinese: bool) -> None:
    """Fill in what a sentence says of each of its kinds. chinese: a comma ends a list there."""
    bounds = [0, *_breaks(items, chinese), len(items)]
    for first, last in itertools.pairwise(bounds):
        _forward(items[first:last])
        _backward(items[first:last])
    for item in items:
        if item.role == "normal":
            item.status = "absent"
    _sides(items, set(bounds))
    _sizes(items, chinese)
    _counts(items, chinese)


def _breaks(items: Sequence[Item], chinese: bool) -> Iterator[int]:
    """Where a clause begins: at a conjunction, and at a comma behind which a statement of its own begins."""
    last_or = max((i for i, item in enumerate(items) if item.has("or")), default=-1)
    ends = [i for i, item in enumerate(items) if item.has("end")] + [len(items)]
    begin = 0
    for i, item in enumerate(items[:-1]):
        if item.has("end"):
            begin = i
            yield i
        elif item.role == "comma":
            after = items[i + 1]
            if chinese:
                broken = not after.has("and", "or")
            else:
                end = next(e for e in ends if e > i)
                right = list(itertools.takewhile(lambda x: x.role != "comma", items[i + 1 : end]))
                left = items[begin:i]
                spoken = any(x.has("verb", "seen") for x in left)
                cued = any(x.has("denies", "doubts", "unasserted") for x in left)
                verb = any(x.has("verb") or (spoken and x.has("seen")) for x in right)
                opens = after.has("asserts") or after.role in ("side", "count")
                listed = i < last_or < end
                broken = after.has("denies", "doubts", "unasserted") or (
                    not listed and (opens or (verb and (spoken or cued)))
                )
            if broken:
                begin = i + 1
                yield i + 1


def _forward(items: Sequence[Item]) -> None:
    """Cues that reach to what follows."""
    status: Status | None = "present"
    spent = True  # whether a finding stands behind the last cue
    for i, item in enumerate(items):
        if item.role == "kind":
            item.status, spent = status, True
        elif _reaches(items, i, "denies", "denied"):
            if status is not None or spent:
                status, spent = "absent", False
        elif _reaches(items, i, "doubts", "doubted"):
            purpose = item.text.startswith("to ") and status == "absent"  # no opacity to suggest pneumonia
            if not purpose and (spent or status == "present"):
                status, spent = "uncertain", False
        elif item.has("unasserted"):
            status, spent = None, False
        elif spent and (item.has("seen", "with") or (item.has("and") and _opens(items, i + 1))):
            status = "present"


def _reaches(items: Sequence[Item], i: int, forward: Cue, backward: Cue) -> bool:
    """Whether a cue speaks of what follows: one of both directions does where a finding follows."""
    item = items[i]
    last = i + 1 == len(items) or not items[i + 1].text.isalnum()
    if last and i > 0 and items[i - 1].text in _COLON and item.has("denies"):  # nodules: no
        return False
    both: Cue = "denies or denied" if forward == "denies" else "doubts or doubted"
    if item.has(both) or (item.has(forward) and item.has(backward)):
        more = item.text.startswith("未") and i + 1 < len(items) and items[i + 1].text.isalnum()  # 未见异常
        return more or any(x.role == "kind" for x in items[i + 1 :])
    return item.has(forward)


def _opens(items: Sequence[Item], i: int) -> bool:
    return i < len(items) and items[i].has("asserts") and not any(x.has("or") for x in items[i:])


def _backward(items: Sequence[Item]) -> None:
    """Cues that reach to what stands before."""
    for i, item in enumerate(items):
        denied = item.has("denied", "denies or denied", "denies") and not _reaches(items, i, "denies", "denied")
        doubted = item.has("doubted", "doubts or doubted") and not _reaches(items, i, "doubts", "doubted")
        if item.has("unasserted before"):
            for kind in _before(items, i):
                kind.status = None
        elif denied:
            for kind in _before(items, i):
                kind.status = kind.status and "absent"
        elif doubted:
            for kind in _before(items, i):
                kind.status = "uncertain" if kind.status == "present" else kind.status
        elif item.has("either"):
            after = next((x for x in items[i:] if x.role == "kind"), None)
            for kind in (*_before(items, i), *([after] if after else [])):
                kind.status = "uncertain" if kind.status == "present" else kind.status


def _before(items: Sequence[Item], i: int) -> Iterator[Item]:
    """The finding before a phrase, and those listed with it; of a list with "and" only where the verb is a plural."""
    one = items[i].text.split()[0] in _ONE or (i > 0 and items[i - 1].text in _ONE)
    found, listed = False, False
    for item in reversed(items[:i]):
        if item.role == "kind":
            if found and not listed:
                return
            yield item
            found, listed = True, False
        elif item.has("or") or (item.has("and") and not one):
            listed = True
        elif item.role == "comma":
            if not found or not (listed or _in_list(items, item, i)):
                return
            listed = True
        elif (
            (item.has("with") and item.text not in _COLON)
            or item.has("denied", "doubted")
            or (found and item.has("verb", "seen"))
        ):
            return


def _in_list(items: Sequence[Item], comma: Item, i: int) -> bool:
    return any(x.start > comma.start and x.has("and", "or") for x in items[:i])


def _sides(items: Sequence[Item], bounds: set[int]) -> None:
    """A side belongs to the finding before it ("nodule in the left lung") or else to those after it ("left nodule")."""
    places = [i for i, item in enumerate(items) if item.role == "side"]
    taken: set[int] = set()
    for n, i in enumerate(places):
        if i in taken:
            continue
        owner, side = _owner(items, i), items[i].value
        last = i
        while n + 1 < len(places) and _joined(items, last, places[n + 1], owner):
            n += 1
            taken.add(last := places[n])
            side = side if items[last].value == side else "bilateral"
        side_or_none = None if side == "middle" else str(side)
        if owner is not None:
            for kind in _listed(items, owner):
                kind.side = kind.side or side_or_none
        elif not _after(items, last, side_or_none, bounds) and (apposed := _apposed(items, i, last)):
            apposed.side = side_or_none
    for item in items:
        if item.value in UNSIDED:
            item.side = None


def _owner(items: Sequence[Item], i: int) -> int | None:
    """The finding that a side stands behind, by a preposition or at once."""
    place = False
    for j in range(i - 1, -1, -1):
        item = items[j]
        if item.role == "kind":
            return j if place or j >= i - 1 else None
        if item.role in ("comma", "side", "normal") or item.has("and", "or", "end", "with", "denies"):
            return None
        place = place or item.text in _AT or item.has("seen")
    return None


def _joined(items: Sequence[Item], i: int, j: int, owner: int | None) -> bool:
    """Whether two sides are one ("left upper and right lower lobe"): no finding between, none of its own behind."""
    between = items[i + 1 : j]
    if len(between) > 6 or any(x.role in ("kind", "comma", "normal") or x.has("verb", "end") for x in between):
        return False
    if not any(x.has("and", "or") for x in between):
        return False
    rest = itertools.takewhile(lambda x: x.role != "comma" and not x.has("end", "and"), items[j + 1 :])
    return owner is None or not any(x.role == "kind" for x in rest)


def _listed(items: Sequence[Item], owner: int) -> Iterator[Item]:
    """A finding and those before it in the same list."""
    yield items[owner]
    joined = False
    for item in reversed(items[:owner]):
        if item.role == "kind":
            if not joined or item.side:
                return
            yield item
            joined = False
        elif item.has("and", "or"):
            joined = True
        elif item.role in ("side", "normal") or item.has("end", "verb", "with"):
            return


def _apposed(items: Sequence[Item], first: int, last: int) -> Item | None:
    """The finding that a side stands behind with commas ("nodule, 9 mm, left apex")."""
    rest = list(itertools.takewhile(lambda x: x.role != "comma", items[last + 1 :]))
    if len(rest) > 3 or any(x.has("verb", "denies") or x.text in _FINE for x in rest):
        return None
    for j in range(first - 1, max(first - 12, -1), -1):
        item = items[j]
        if item.role == "kind":
            return item if item.status == "present" and item.side is None else None
        if item.role in ("side", "normal") or item.has("and", "verb", "end", "denies"):
            return None
        if j == first - 1 and item.role != "comma" and item.text not in _AT and item.text != "the":
            return None
    return None


def _after(items: Sequence[Item], i: int, side: str | None, bounds: set[int]) -> bool:
    """Give a side to the findings behind it, up to the next side, the next comma or another statement."""
    given = False
    for j in range(i + 1, len(items)):
        item = items[j]
        if item.role in ("kind", "normal"):
            item.side, given = item.side or side, True
        elif item.role in ("side", "comma") or item.text in _TURNS:
            if given or not (item.role == "comma" and _fronted(items, i, j)):
                break
        elif given and (j in bounds or item.has("denies", "with", "seen", "end", "doubts")):
            break
    return given


def _fronted(items: Sequence[Item], i: int, comma: int) -> bool:
    """Whether a clause only says where ("In the right lung, there is"): what is there comes after its comma."""
    if comma - i > 5 or comma + 1 >= len(items) or any(x.cues or x.text in _FINE for x in items[i + 1 : comma]):
        return False
    opened = any(x.text in _AT for x in items[max(0, i - 2) : i])
    return opened or (i == 0 and items[comma + 1].has("end"))


def _sizes(items: Sequence[Item], chinese: bool) -> None:
    """A size belongs to the nearest finding that is not denied."""
    kinds = [i for i, item in enumerate(items) if item.role == "kind" and item.status in ("present", "uncertain")]
    walls = [0]
    for item in items:
        wall = item.role == "comma" or item.has("and", "or", "end", "doubts", "with")
        walls.append(walls[-1] + (wall and (2 if chinese else 6)))
    for i, item in enumerate(items):
        if item.role != "size" or not isinstance(item.value, float) or not kinds or _elsewhere(items, i):
            continue
        told = any(x.has("it", "verb") for x in items[max(0, i - 4) : i])  # "it measures 5 mm" looks back
        cost, nearest = min((abs(k - i) + abs(walls[k] - walls[i]) + (k > i) * (6 * told - 0.5), k) for k in kinds)
        if cost < 25:
            items[nearest].size_mm = max(item.value, items[nearest].size_mm or 0)


def _elsewhere(items: Sequence[Item], i: int) -> bool:
    """Whether a size is of an earlier examination, a distance, or of the scan."""
    before = list(itertools.takewhile(lambda x: x.role != "size", reversed(items[max(0, i - 3) : i])))
    after = items[i + 1 : i + 3]
    grown = re.search(r"\bto\b|至", items[i].text)  # from 6 mm to 8 mm
    if (not grown and any(x.has("prior") for x in before[:2])) or any(x.has("distance") for x in before):
        return True
    if after and after[0].has("distance"):
        return True
    return bool(after) and after[0].has("prior") and not (len(after) > 1 and after[1].role == "size")


def _counts(items: Sequence[Item], chinese: bool) -> None:
    """A number belongs to the finding behind it, in Chinese also to one before it (结节2枚)."""
    for item in items:
        if item.role == "kind" and item.many:
            item.count = None
    for i, item in enumerate(items):
        if item.role != "count" or (i > 0 and items[i - 1].text in _NOT_A_COUNT):
            continue
        digits = item.text.isdecimal()
        ahead = itertools.takewhile(
            lambda x: x.role not in ("comma", "count") and not x.has("verb", "seen", "end"),
            items[i + 1 : i + (4 if digits else 7)],
        )
        kind = next((x for x in ahead if x.role == "kind" and (x.many or chinese or not digits)), None)
        if kind is None and chinese and not digits:
            near = [x for x in items[max(0, i - 3) : i] if x.role == "kind"]
            kind = near[-1] if near else None
        if kind is not None:
            kind.count = int(item.value) or None
    for item in items:
        if item.status == "absent":
            item.count = 1
