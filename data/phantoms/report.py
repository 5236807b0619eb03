"""Words for phantoms: the report and the caption of a list of findings, in any of `LANGUAGES`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vesalius.data.phantoms.report_en import ENGLISH as ENGLISH
from vesalius.data.phantoms.report_en import ENGLISH_UNSEEN, WORDS, polish
from vesalius.data.phantoms.report_zh import CHINESE, CHINESE_UNSEEN, WORDS_ZH, polish_zh
from vesalius.data.record import Finding
from vesalius.data.texts.phrases import Language, Phrases, Term, fill, pick

if TYPE_CHECKING:
    import numpy as np

LANGUAGES: dict[str, Language] = {
    "en": Language(
        seen=ENGLISH,
        unseen=ENGLISH_UNSEEN,
        numbers=("no", "one", "two", "three", "four", "five"),
        verbs=("is", "are"),
        words=WORDS,
        gap=" ",
        polish=polish,
    ),
    "zh": Language(
        seen=CHINESE,
        unseen=CHINESE_UNSEEN,
        numbers=("零", "一", "两", "三", "四", "五"),
        verbs=("", ""),
        words=WORDS_ZH,
        gap="",
        polish=polish_zh,
    ),
}


class Writer:
    """Writes the text of one phantom; every choice comes from `rng`, every fact from the findings and the drawing.

    words: what the drawing settled: level, sequence, organ; what is not there is not said. unseen: speak in the
    phrasing that no model is trained on.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        modality: str,
        words: Mapping[str, str],
        language: str = "en",
        unseen: bool = False,
    ) -> None:
        self.rng, self.modality, self.grammar = rng, modality, LANGUAGES[language]
        self.talk = self.grammar.unseen if unseen else self.grammar.seen
        self.words = {slot: self.grammar.words.get(word, word) for slot, word in words.items()}

    def pick(self, phrases: Phrases) -> str:
        return pick(self.rng, phrases)

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def say(self, phrases: Phrases, words: Mapping[str, str]) -> str:
        """One of the phrases, filled and polished."""
        return self.grammar.polish(fill(self.pick(phrases), words))

    def term(self, kind: str) -> Term:
        if kind not in self.talk.terms:
            raise ValueError(f"finding '{kind}' has no words here; use one of {', '.join(self.talk.terms)}")
        return self.talk.terms[kind]

    def noun(self, finding: Finding, *, side: str = "", plain: bool = False) -> str:
        """The noun phrase with its count and size; `plain` takes the first synonym in the first form."""
        talk, term = self.talk, self.term(finding.kind)
        which = 0 if plain else int(self.rng.integers(len(term.one)))
        counted, sized = finding.count > 1, finding.size_mm is not None
        units = tuple(u for u in term.unit if u) if counted else term.unit
        words = {
            "one": term.one[which],
            "many": (term.many or term.one)[which],
            "unit": self.pick(units) if units else "",
            "side": side,
        }
        if counted:
            digits, numbers = str(finding.count), self.grammar.numbers
            words |= {"digits": digits, "number": numbers[finding.count] if finding.count < len(numbers) else digits}
        if finding.size_mm is not None:
            mm = finding.size_mm
            words |= {"mm": f"{mm:g}", "cm": f"{mm / 10:.1f}" if mm == round(mm) else f"{mm / 10:g}"}
            words["grade"] = next(word for limit, word in talk.grades if mm < limit)
            words["largest" if counted else "size"] = fill(self.pick(talk.largest if counted else talk.sizes), words)
        if counted:
            forms = talk.several_sized if sized else talk.several
        elif sized:
            forms = talk.sized
        else:
            forms = talk.both if finding.side == "bilateral" else talk.single
        return fill(self.pick(forms[:1] if plain else forms), words)

    def phrase(self, finding: Finding, *, plain: bool = False) -> dict[str, str]:
        """What a sentence on a finding is made of: {the} noun phrase, {where} and {is}."""
        talk, term = self.talk, self.term(finding.kind)
        side, where = "", ""
        if finding.side is not None:
            if talk.adjectives and self.chance(0.25):
                side = self.pick(talk.adjectives[finding.side])
            else:
                where = fill(self.pick(talk.sides[finding.side]), {"place": self.pick(term.place)})
        many = finding.count > 1 or finding.side == "bilateral"
        return {"the": self.noun(finding, side=side, plain=plain), "where": where, "is": self.grammar.verbs[many]}

    def sentence(self, finding: Finding) -> str:
        """A sentence that says the finding, and now and then a remark."""
        term = self.term(finding.kind)
        frames = self.talk.present if term.place else self.talk.found
        text = self.say(frames + term.present, self.phrase(finding))
        one = finding.count == 1 and finding.side != "bilateral"
        return f"{text}{self.grammar.gap}{self.pick(term.detail)}" if one and term.detail and self.chance(0.5) else text

    def listed(self, kinds: list[str]) -> str:
        names = [self.denied(kind) for kind in kinds]
        ends = [self.talk.comma.join(names[:-1]), names[-1]] if len(names) > 1 else names
        return self.pick(self.talk.either).join(ends)

    def denied(self, kind: str) -> str:
        """The noun of a denial, half the time the first one."""
        term = self.term(kind)
        return self.pick(term.denied) if term.denied and self.chance(0.5) else term.absent

    def denials(self, kinds: list[str]) -> list[str]:
        if len(kinds) > 1 and self.chance(0.6):
            return [self.say(self.talk.absent_list, {"list": self.listed(kinds)})]
        return [self.say(self.talk.absent, {"one": self.denied(kind)}) for kind in kinds]

    def report(self, findings: tuple[Finding, ...]) -> str:
        """Findings and impression, and now and then indication and technique, one a line."""
        mixed = [findings[i] for i in self.rng.permutation(len(findings))]
        present, denied = [f for f in mixed if f.present], [f.kind for f in mixed if not f.present]
        talk, modality = self.talk, self.modality
        sets = talk.headings[modality]
        heads = sets[int(self.rng.integers(len(sets)))]
        body = [self.sentence(f) for f in present] + self.denials(denied)
        if not body or (not present and self.chance(0.7)):
            body.insert(0, self.say(talk.background[modality], {}))
        ends = [self.say(talk.conclusion, self.phrase(f, plain=self.chance(0.7))) for f in present]
        sections = (
            self.say(talk.indication[modality], {}) if self.chance(0.45) else "",
            self.say(talk.technique[modality], self.words) if self.chance(0.6) else "",
            self.grammar.gap.join(body),
            self.grammar.gap.join(ends) or self.say(talk.normal[modality], {}),
        )
        order, style = talk.orders[int(self.rng.integers(len(talk.orders)))], self.pick(talk.heading)
        return "\n".join(style.format(heading=heads[i], text=sections[i]) for i in order if sections[i])

    def caption(self, findings: tuple[Finding, ...]) -> str:
        """One line: the technique, what is present, and sometimes what is not."""
        talk = self.talk
        present = [f for f in findings if f.present]
        denied = [f.kind for f in findings if not f.present][:2]
        scan = fill(self.pick(talk.scan[self.modality]), self.words)
        without = fill(self.pick(talk.without), {"list": self.listed(denied)}) if denied and self.chance(0.4) else ""
        said = [fill(self.pick(talk.item), self.phrase(f, plain=self.chance(0.5))) for f in present]
        words = {"scan": scan, "without": without, "list": self.pick(talk.joint).join(said)}
        return self.say(talk.captions if present else talk.scan_normal, words)
