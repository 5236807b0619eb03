"""Does a picture show what its prompt asks for? The package's own networks look, and each badge tells how often its
network is wrong on images whose truth is known (`vesalius.demo.checking.check_rates`).

Used by the process that draws; knows neither browser nor store's folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from vesalius.data.images.image import Picture, Uint8
from vesalius.data.modality import find_modality
from vesalius.data.phantoms.phantom import KINDS, RULES
from vesalius.data.record import Finding
from vesalius.demo.checking.asked import NO_FINDING, Question, kind_of, questions
from vesalius.demo.config import DemoConfig
from vesalius.demo.store.pictures import Check, Said
from vesalius.inference.sample import Sample
from vesalius.models.support import Support, support_of

if TYPE_CHECKING:
    import torch

READER, JUDGE, WITNESS = "phantom reader", "judge", "witness"
MOST_WRONG = 0.25
"""A network that is wrong more often than this, where half of the answers are yes, is not asked."""
FEWEST = 10
"""Images of a truth that an error rate rests on at least."""
NOT_SEEN = "not seen"


class Answer(NamedTuple):
    """What one network says to a question. right: whether the picture is as asked; None where that cannot be told."""

    checker: str
    seen: str
    right: bool | None


@dataclass(frozen=True, kw_only=True)
class Seeing:
    """What the networks make of one picture.

    modality: by network. organ: of the witness. classes: by "MODALITY/organ", or "tissue", the kind that the witness
    takes it for. findings: what the phantom reader measures; None of a modality without phantoms.
    """

    modality: Mapping[str, str]
    organ: str
    classes: Mapping[str, str]
    findings: tuple[Finding, ...] | None = None


@dataclass
class Eyes:
    """The package's networks, loaded once."""

    def __post_init__(self) -> None:
        from vesalius.models.networks.judge import Judge
        from vesalius.models.networks.reader import Reader
        from vesalius.models.networks.witness import Witness

        self.judge, self.witness, self.reader = Judge.load(), Witness.load(), Reader.load()

    def look(self, images: torch.Tensor, modalities: Sequence[str]) -> list[Seeing]:
        """Pictures as models see them, uint8 [N, 3, H, W], and their modalities."""
        heads = self.witness.config.heads
        features = self.witness.features(images)
        said = {
            head: [names[k] for k in self.witness.read(features, head).argmax(1).tolist()]
            for head, names in heads.items()
            if not head.startswith("findings/")
        }
        _, judged, _ = self.judge.look(images)
        judge = [self.judge.config.modalities[k] for k in judged.argmax(1).tolist()]
        mine = [i for i, m in enumerate(modalities) if m in RULES]
        read = self.reader.read(images[mine], [modalities[i] for i in mine]) if mine else []
        measured = {i: reading.findings for i, reading in zip(mine, read, strict=True)}
        return [
            Seeing(
                modality={WITNESS: said["modality"][i], JUDGE: judge[i]},
                organ=place_of_class(said["organ"][i]),
                classes={head: _kind(head, said[head][i]) for head in said if "/" in head or head == "tissue"},
                findings=measured.get(i),
            )
            for i in range(len(modalities))
        ]  # fmt: skip

    @property
    def kinds(self) -> dict[str, tuple[str, set[str]]]:
        """By "MODALITY/kind" the witness's head that knows it, and all kinds that the head tells apart."""
        found: dict[str, tuple[str, set[str]]] = {}
        for head, names in self.witness.config.heads.items():
            if ("/" in head and not head.startswith(("findings/", "pathology/"))) or head == "tissue":
                kinds = {_kind(head, name) for name in names}
                modality = "pathology" if head == "tissue" else head.partition("/")[0]
                for kind in kinds:
                    found.setdefault(f"{modality}/{kind}", (head, kinds))
        return found


def place_of_class(name: str) -> str:
    """The witness's organs as a prompt names them: the lung of a CT is its chest."""
    return "CT/chest" if name == "CT/lung" else name


def _kind(head: str, name: str) -> str:
    if head == "tissue":
        organ, _, label = name.partition("/")
        return kind_of(f"pathology/{organ}", label)
    return kind_of(head, name)


def answers(question: Question, seeing: Seeing, kinds: Mapping[str, tuple[str, set[str]]]) -> list[Answer]:
    """What each network that knows a question says to it; none where none does. kinds: of `Eyes`."""
    modality, _, what = question.about.partition("/")
    if question.attribute == "modality":
        return [Answer(name, seen, seen == modality) for name, seen in seeing.modality.items()]
    if question.attribute == "organ":
        if question.about not in ORGANS_KNOWN:
            return []
        seen_at, _, organ = seeing.organ.partition("/")
        return [Answer(WITNESS, organ, seeing.organ == question.about)] if seen_at or organ else []
    if question.domain == "real":
        if question.attribute != "finding" or question.about not in kinds:
            return []
        seen = seeing.classes[kinds[question.about][0]]
        return [Answer(WITNESS, seen, seen == what)]
    if seeing.findings is None:
        return []
    return [_measured(question, what, modality, seeing.findings)]


ORGANS_KNOWN = (
    "CT/abdomen", "CT/chest", "CT/pelvis", "MRI/brain", "MRI/heart", "X-ray/chest", "pathology/bone",
    "pathology/breast", "pathology/kidney", "pathology/oral cavity",
)  # fmt: skip
"""Organs that the witness tells apart, as prompts name them."""


def _measured(question: Question, kind: str, modality: str, seen: Sequence[Finding]) -> Answer:
    """What the phantom reader says to a question about a finding."""
    from vesalius.models.networks.reader import compare_findings

    found = {f.kind: f for f in seen}
    if question.words == NO_FINDING:
        return Answer(READER, ", ".join(found) or NO_FINDING, not found)
    other, asked = found.get(kind), question.finding
    assert asked is not None, "only a finding is asked about"
    if question.attribute in ("finding", "absence"):
        return Answer(READER, NOT_SEEN if other is None else kind, (other is not None) == asked.present)
    if other is None:
        return Answer(READER, "not in sight", None)
    right = {what: r for _, what, r in compare_findings([asked], [other], modality)}
    told = {
        "side": other.side or "", "size": f"{other.size_mm or 0:.0f} mm", "count": f"count {other.count}",
    }  # fmt: skip
    return Answer(READER, told[question.attribute], right.get(question.attribute))


class Rate(NamedTuple):
    """How often a network is wrong. num: images that tell it."""

    error: float
    num: int


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Error rates by "DOMAIN/attribute/ABOUT/checker"."""

    rates: Mapping[str, Rate] = field(default_factory=dict)

    @staticmethod
    def load() -> Rates:
        """Those that came with the package."""
        text = (resources.files("vesalius.demo.checking") / "check_rates.json").read_text()
        return Rates(rates={key: Rate(row["error"], row["num"]) for key, row in json.loads(text)["rates"].items()})

    def of(self, question: Question, checker: str) -> Rate | None:
        """Of one question by one network; None where it was never measured."""
        return self.rates.get(rate_key(question, checker))


def rate_key(question: Question, checker: str) -> str:
    """What a rate is filed under. To see that something is there, and that it is not, is one skill."""
    attribute = "finding" if question.attribute == "absence" else question.attribute
    return f"{question.domain}/{attribute}/{question.about}/{checker}"


class Checker:
    """Checks pictures of one base.

    >>> Checker(DemoConfig()).check(sample, picture)  # doctest: +SKIP
    (Check(attribute='modality', asked='CT', seen='CT', said='yes', checker='witness', error_rate=0.01), ...)
    """

    def __init__(self, config: DemoConfig) -> None:
        """ValueError where a network is missing, or base and adapter cannot be opened."""
        self.eyes, self.rates = Eyes(), Rates.load()
        self.support = support_of(config.base, config.adapter)

    def check(self, sample: Sample, image: Picture | Uint8) -> tuple[Check, ...]:
        """Whether a picture shows what its sample's text asks for, one check a question. image: the picture, or HWC
        uint8 as models see it, CT with Hounsfield units in its three windows."""
        import torch

        from vesalius.eval.scorecard.obedience import as_seen

        picture = image if isinstance(image, Picture) else Picture(image=image)
        (seeing,) = self.eyes.look(torch.from_numpy(as_seen(picture))[None], [sample.modality])
        is_windowed = picture.hu is not None or picture.image.shape[2] == 3
        usual = is_windowed or not find_modality(sample.modality).windows
        return tuple(self._check(q, seeing, usual) for q in questions(sample.text, sample.modality))

    def _check(self, question: Question, seeing: Seeing, usual: bool) -> Check:
        """usual: whether the picture has the units that phantoms have, which the networks were measured on."""
        told = answers(question, seeing, self.eyes.kinds)
        if not told:
            return _as_check(question, "unsure", seen="no network")
        known = {a: self.rates.of(question, a.checker) for a in told}
        answer = min(told, key=lambda a: rate.error if (rate := known[a]) else 1.0)
        like = question.domain == "real" or (usual and is_phantom_like(self.support, question))
        rate = known[answer] if like else None
        if answer.right is None:
            return _as_check(question, "unsure", seen=answer.seen)
        if rate is not None and rate.error > MOST_WRONG:
            return _as_check(question, "unsure", seen="too often wrong", checker=answer.checker, rate=rate.error)
        said: Said = "unsure" if rate is None else "yes" if answer.right else "no"
        return _as_check(
            question, said, seen=answer.seen, checker=answer.checker, rate=None if rate is None else rate.error
        )


def _as_check(question: Question, said: Said, *, seen: str, checker: str = "", rate: float | None = None) -> Check:
    return Check(
        attribute=question.attribute, asked=question.words, seen=seen, said=said, checker=checker, error_rate=rate
    )


def is_phantom_like(support: Support | None, question: Question) -> bool:
    """Whether a base learnt what is asked about from phantoms, so that what was measured on them holds of its pictures.
    Of a base that does not say, it is not known."""
    if support is None:
        return False
    modality, _, kind = question.about.partition("/")
    kinds = KINDS.get(modality, ()) if kind not in KINDS.get(modality, ()) else (kind,)
    rows = [s for s in support.shown if s.modality == modality and {f.kind for f in s.findings} & {*kinds, "normal"}]
    return sum(s.num_phantom for s in rows) > sum(s.num_real for s in rows)
