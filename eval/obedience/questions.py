"""Obedience: does a picture show what its prompt says? By several networks, each beside its own rate on real images.

    found = measure(cases, images, real, real_images, networks)

Three ways to ask, none of which is trusted alone. Agreement: the picture agrees better with its prompt than with the
same prompt made false in one thing (side, negation, finding), or than with another prompt. Findings: a classifier sees
what is asked for, and does not see what is denied. On phantoms and pictures like them the reader measures: side, size,
count. A network that gated the samples has made them agree with itself, so it may not measure them (`independent`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from vesalius.data.phantoms.phantom import KINDS, ORGANS, RULES, draw_phantom
from vesalius.data.record import Finding, Record
from vesalius.data.texts.prompt import clean, is_chinese, swap_sides
from vesalius.data.texts.wording import hard_negatives, reword
from vesalius.eval.features import side_by_side
from vesalius.eval.fidelity.metrics import share
from vesalius.eval.gates.scores import Case
from vesalius.eval.obedience.seen import Seen, look, places_of
from vesalius.models.networks.judge import Judge, attribute_names
from vesalius.models.networks.reader import Reader, compare_findings
from vesalius.models.networks.witness import Witness

GATES = ("judge", "witness", "reader")
"""Networks of this package that could gate, and that could measure."""
TOGETHER, TEXTS = 4096, 1024
"""Contrasts that are weighed, and texts that are read, at once."""
MOST_PHANTOMS = 300
FIRST_PHANTOM = 10 * 1_000_003
"""The seed of the first phantom drawn here; no training set comes near it."""
SIZE = 128
CHANGES = {"side": "side", "denial": "negation", "claim": "negation"}
"""Names of the ways in which `hard_negatives` makes findings false, as attributes of the table."""


def independent(gated_by: Collection[str], networks: Collection[str] = GATES) -> tuple[str, ...]:
    """The networks that may measure the obedience of samples that others gated. ValueError where none is left, or a
    gate is not known by name: what it was cannot be ruled out then."""
    known = dict.fromkeys([*GATES, *networks])
    if unknown := sorted(set(gated_by) - set(known)):
        raise ValueError(f"gated by {', '.join(unknown)}: no such network; name it of {', '.join(known)}")
    left = tuple(name for name in networks if name not in gated_by)
    if not left:
        raise ValueError(
            f"{', '.join(networks)} gated these samples, and no other network is there to measure their obedience; "
            "add one that gated nothing"
        )
    return left


class Agrees(Protocol):
    """A network that has pictures and texts in one space, as the judge does: unit vectors, float32 [N, C]."""

    def embed_images(self, images: torch.Tensor) -> torch.Tensor: ...  # NCHW uint8

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Networks:
    """What measures. agreement: by name. judge, witness, reader: where they are there."""

    agreement: Mapping[str, Agrees]
    judge: Judge | None = None
    witness: Witness | None = None
    reader: Reader | None = None

    def without(self, gated_by: Collection[str]) -> Networks:
        """Those that did not gate. ValueError as `independent`."""
        names = [*self.agreement, *(n for n in GATES if getattr(self, n) is not None)]
        left = independent(gated_by, list(dict.fromkeys(names)))
        return replace(
            self, agreement={n: each for n, each in self.agreement.items() if n in left},
            **{name: None for name in GATES if name not in left},
        )  # fmt: skip


class Contrast(NamedTuple):
    """Two texts for one picture, the second false in one thing, which `attribute` names."""

    place: int
    attribute: str
    true: str
    false: str


class Answer(NamedTuple):
    """One question that a picture answered. place: of the picture in its set."""

    place: int
    attribute: str
    network: str
    right: bool


def networks(judge: Judge | None = None, witness: Witness | None = None, reader: Reader | None = None) -> Networks:
    """What measures obedience: the networks of this package that are given, each opened by its `load`."""
    return Networks(agreement={"judge": judge} if judge else {}, judge=judge, witness=witness, reader=reader)


def contrasts(cases: Sequence[Case], *, seed: int = 0) -> list[Contrast]:
    """Two texts for every prompt that can be made false, in each way in which it can.

    "side": left and right exchanged in the prompt itself. "negation", "finding": of prompts whose findings are known,
    of phantoms' modalities; both texts are worded anew, by the same draws. "other prompt": the text of another case of
    the modality, at random.
    """
    told: list[Contrast] = []
    prompts = [clean(case.text) for case in cases]
    found: dict[str, set[str]] = {}
    for case, own in zip(cases, prompts, strict=True):
        found.setdefault(case.modality, set()).add(own)
    texts = {modality: sorted(each) for modality, each in found.items()}
    for place, (case, own) in enumerate(zip(cases, prompts, strict=True)):
        swapped = swap_sides(own)
        if swapped:
            told.append(Contrast(place, "side", own, swapped))
        told += _reworded(case, place, seed)
        others = texts[case.modality]
        if len(others) > 1:
            drawn = int(np.random.default_rng([seed, place, 1]).integers(len(others) - 1))
            other = others[drawn + (drawn >= bisect_left(others, own))]  # of all but its own
            told.append(Contrast(place, "other prompt", own, other))
    return told


def _reworded(case: Case, place: int, seed: int) -> list[Contrast]:
    """One change of each kind, of a case whose findings are known."""
    kinds = {f.kind for f in case.findings}
    if not kinds or case.modality not in ORGANS or not kinds <= set(RULES[case.modality]):
        return []
    changes: dict[str, list[tuple[Finding, ...]]] = {}
    for name, findings in hard_negatives(case.findings):
        if CHANGES.get(name) == "negation":
            changes.setdefault("negation", []).append(findings)
    if exchanged := _exchanged(case):
        changes["finding"] = [exchanged]
    language = "zh" if is_chinese(case.text) else "en"
    made = []
    for number, (attribute, choices) in enumerate(sorted(changes.items())):
        rng = np.random.default_rng([seed, place, 2, number])
        false = choices[int(rng.integers(len(choices)))]
        pair = [
            reword(findings, case.modality, np.random.default_rng([seed, place, 3]), language=language, unseen=True)
            for findings in (case.findings, false)
        ]
        if pair[0] != pair[1]:
            made.append(Contrast(place, attribute, pair[0], pair[1]))
    return made


def _exchanged(case: Case) -> tuple[Finding, ...] | None:
    """The findings with the first present one of another kind, which they do not speak of or deny."""
    present = [f for f in case.findings if f.present]
    free = [k for k in KINDS[case.modality] if k not in {f.kind for f in present}]
    if not present or not free:
        return None
    old, rule = present[0], RULES[case.modality][free[0]]
    size = None if rule.size_mm is None else old.size_mm or float(rule.size_mm[0])
    new = Finding(kind=free[0], side=(old.side or "left") if rule.sides else None, size_mm=size)
    rest = [f for f in case.findings if f is not old and f.kind != new.kind]
    denied = [Finding(kind=old.kind, present=False)] if any(not f.present for f in case.findings) else []
    return tuple(sorted([new, *rest, *denied], key=lambda f: not f.present))


def agreement_answers(
    name: str, network: Agrees, cases: Sequence[Case], embedded: torch.Tensor, seed: int
) -> list[Answer]:
    """Whether each picture (unit vectors [N, C]) agrees better with the true text than with the false one."""
    asked = contrasts(cases, seed=seed)
    if not asked:
        return []
    # Each text once, and those of like length together, so that few tokens are padding.
    texts = sorted({text for c in asked for text in (c.true, c.false)}, key=lambda text: (len(text), text))
    place = {text: i for i, text in enumerate(texts)}
    parts = [texts[start : start + TEXTS] for start in range(0, len(texts), TEXTS)]
    known = torch.cat(list((side_by_side if isinstance(network, Judge) else map)(network.embed_texts, parts)))
    answers = []
    for start in range(0, len(asked), TOGETHER):
        part = asked[start : start + TOGETHER]
        true, false = (known[[place[t] for t in told]] for told in ([c.true for c in part], [c.false for c in part]))
        seen = embedded[[c.place for c in part]]
        right = ((seen * true).sum(1) > (seen * false).sum(1)).tolist()
        answers += [Answer(c.place, f"{c.attribute} exchanged", name, r) for c, r in zip(part, right, strict=True)]
    return answers


def modality_answers(seen: Seen, cases: Sequence[Case]) -> list[Answer]:
    """Whether each picture is read as its modality, by each classifier that knows it."""
    answers: list[Answer] = []
    for name, (known, said) in seen.modality.items():
        chosen = said.argmax(1).tolist()
        answers += [
            Answer(i, "modality", name, known[chosen[i]] == case.modality)
            for i, case in enumerate(cases)
            if case.modality in known
        ]
    return answers


def finding_answers(seen: Seen, cases: Sequence[Case]) -> list[Answer]:
    """What the heads of judge and witness say of the findings asked for or denied: a probability of a half decides.

    "finding present": of its kind. "finding absent": of one denied. "side": of one present in the prompt, the side
    asked for is likelier than the other; of both sides, each is likelier than not.
    """
    answers: list[Answer] = []
    for name, (names, probabilities) in seen.findings.items():
        places = places_of(names)
        for i, case in enumerate(cases):
            if case.findings:
                row = probabilities[i].tolist()
                said = {n: row[k] for n, k in places.items() if n.startswith(f"{case.modality}/")}
                for finding in case.findings:
                    answers += [Answer(i, a, name, r) for a, r in _answers_of(case.modality, finding, said)]
    return answers


def _answers_of(modality: str, finding: Finding, said: Mapping[str, float]) -> list[tuple[str, bool]]:
    kind = f"{modality}/{finding.kind}"
    if kind not in said:
        return []
    if not finding.present:
        return [("finding absent", said[kind] < 0.5)]
    answers = [("finding present", said[kind] >= 0.5)]
    sides = [name for name in attribute_names(modality, finding)[1:] if name in said]
    if len(sides) == 2:
        answers.append(("side", all(said[name] >= 0.5 for name in sides)))
    elif sides and (other := f"{kind}/{'left' if finding.side == 'right' else 'right'}") in said:
        answers.append(("side", said[sides[0]] > said[other]))
    return answers


def reader_answers(
    cases: Sequence[Case], measured: Sequence[tuple[Finding, ...] | None], uncounted: Collection[int] = (), *,
    unseen_is_wrong: bool = False,
) -> list[Answer]:  # fmt: skip
    """What the phantom reader says of pictures whose findings are known. uncounted: whose count is not known.
    unseen_is_wrong: as `compare_findings`."""
    names = {"present": "finding present", "absent": "finding absent", "size": "size within 25 %"}
    return [
        Answer(i, names.get(question, question), "reader", right)
        for i, (case, read) in enumerate(zip(cases, measured, strict=True))
        if read is not None and case.findings
        for _, question, right in compare_findings(
            [f for f in case.findings if f.kind in RULES[case.modality]],
            read,
            case.modality,
            unseen_is_wrong=unseen_is_wrong,
        )
        if question != "count" or i not in uncounted
    ]


def phantom_like(records: Sequence[Record]) -> tuple[str, ...]:
    """The modalities whose records are phantoms alone: samples beside them are like phantoms, and can be measured."""
    drawn: dict[str, bool] = {}
    for record in records:
        drawn[record.modality] = drawn.get(record.modality, True) and record.origin == "phantom"
    return tuple(sorted(m for m, all_phantoms in drawn.items() if all_phantoms and m in RULES))


def phantoms_of(cases: Sequence[Case], phantoms: Collection[str], seed: int) -> tuple[list[int], torch.Tensor]:
    """Phantoms that really have what was asked, of at most `MOST_PHANTOMS` cases at random: the places of those, and
    uint8 [N, 3, H, W].

    What the reader gets wrong of them is its own error, in the very mix of findings that the samples were asked for.
    Cases whose findings no phantom can have are passed over.
    """
    from vesalius.eval.scorecard.obedience import as_seen

    mine = [i for i, c in enumerate(cases) if c.modality in phantoms and c.modality in RULES and c.findings]
    order = np.random.default_rng(seed).permutation(len(mine)).tolist()
    kept: list[int] = []
    drawn: list[torch.Tensor] = []
    for number in order[:MOST_PHANTOMS]:
        case = cases[mine[number]]
        try:
            phantom = draw_phantom(FIRST_PHANTOM + number, case.modality, size=SIZE, findings=case.findings)
        except ValueError:
            continue
        kept.append(mine[number])
        drawn.append(torch.from_numpy(as_seen(phantom)))
    return kept, torch.stack(drawn) if drawn else torch.empty(0, 3, SIZE, SIZE, dtype=torch.uint8)


def answers(
    cases: Sequence[Case], images: torch.Tensor, net: Networks, *, phantoms: Collection[str] = (), seed: int = 0,
    unseen_is_wrong: bool = False,
) -> list[Answer]:  # fmt: skip
    """All that can be asked of the pictures (uint8 [N, 3, H, W]) of these cases. unseen_is_wrong: side, size and count
    are asked of findings that the reader does not see, too, and are wrong (`compare_findings`)."""
    seen = look(net, cases, images, phantoms)
    return answers_seen(cases, seen, net, seed=seed, unseen_is_wrong=unseen_is_wrong)


def answers_seen(
    cases: Sequence[Case], seen: Seen, net: Networks, *, seed: int = 0, uncounted: Collection[int] = (),
    unseen_is_wrong: bool = False,
) -> list[Answer]:  # fmt: skip
    """The same of what networks made of the pictures."""
    found = modality_answers(seen, cases) + finding_answers(seen, cases)
    for name, network in net.agreement.items():
        found += agreement_answers(name, network, cases, seen.embedded[name], seed)
    if seen.measured:
        found += reader_answers(cases, seen.measured, uncounted, unseen_is_wrong=unseen_is_wrong)
    return found


def measure_obedience(
    cases: Sequence[Case],
    images: torch.Tensor,
    real: Sequence[Case],
    real_images: torch.Tensor,
    net: Networks,
    *,
    gated_by: Collection[str] = (),
    phantoms: Collection[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Obedience per attribute, network and modality, beside the same network's rate on real images under their own
    captions, as JSON; shares of the questions with Wilson's interval. Beside the reader stands its rate on phantoms
    that have the very findings (`phantoms_of`).

    images, real_images: uint8 [N, 3, H, W], a picture for each case. gated_by: names of the networks that accepted
    these samples; they measure nothing. phantoms: modalities whose samples are like phantoms, which the reader can
    measure. ValueError where counts differ, or no network is left.
    """
    for name, each, stack in (("samples", cases, images), ("real images", real, real_images)):
        if len(each) != len(stack) or not len(each):
            raise ValueError(f"obedience: {len(each)} {name}, and {len(stack)} pictures of them; give as many")
    left = net.without(gated_by) if gated_by else net
    theirs = replace(left, reader=None)
    found = measure_seen(
        cases, look(left, cases, images, phantoms), real, look(theirs, real, real_images), left, phantoms=phantoms,
        seed=seed,
    )  # fmt: skip
    return {**found, "gated_by": sorted(gated_by)}


def measure_seen(
    cases: Sequence[Case],
    seen: Seen,
    real: Sequence[Case],
    real_seen: Seen,
    net: Networks,
    *,
    phantoms: Collection[str] = (),
    uncounted: Collection[int] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """The same of what networks that may measure made of the pictures. uncounted: places of cases of which no count may
    be asked."""
    ours = answers_seen(cases, seen, net, seed=seed, uncounted=uncounted)
    theirs = answers_seen(real, real_seen, net, seed=seed)
    num_real, known = len(real), list(real)
    if net.reader is not None:
        asked = [i for i, c in enumerate(cases) if c.findings]
        places, drawn = phantoms_of([cases[i] for i in asked], phantoms, seed)
        own = [cases[asked[i]] for i in places]
        measured = look(Networks(agreement={}, reader=net.reader), own, drawn, phantoms).measured
        vague = {k for k, i in enumerate(places) if asked[i] in uncounted}
        theirs += [a._replace(place=num_real + a.place) for a in reader_answers(own, measured, vague)]
        known += own
    modalities = sorted({c.modality for c in cases})
    counts: list[dict[tuple[str, str, str], list[bool]]] = []
    for found, each in ((ours, cases), (theirs, known)):
        right: dict[tuple[str, str, str], list[bool]] = {}
        for a in found:
            if (of := each[a.place].modality) in modalities:
                right.setdefault((a.attribute, a.network, of), []).append(a.right)
                right.setdefault((a.attribute, a.network, "all"), []).append(a.right)
        counts.append(right)
    rows = [
        {
            "attribute": attribute, "network": network, "of": of, "samples": asdict(share(counts[0][key])),
            "real": asdict(share(counts[1][key])) if key in counts[1] else None,
        }
        for attribute, network in sorted({(a.attribute, a.network) for a in ours})
        for of in (["all", *modalities] if len(modalities) > 1 else modalities)
        if (key := (attribute, network, of)) in counts[0]
    ]  # fmt: skip
    digests = {name: getattr(net, name).digest for name in GATES if getattr(net, name) is not None}
    return {"rows": rows, "networks": digests, "gated_by": [], "num_samples": len(cases), "num_real": num_real}
