"""Questions that are proposed about pictures: from what each was asked to show, or from what a case says.

A picture shows what it was asked for only as far as the base can draw it: a proposal is for a teacher to look at.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vesalius.demo.page import Language, say
from vesalius.demo.quiz.words import WORDS
from vesalius.demo.store.quizzes import ABNORMAL, MOST_CHOICE, MOST_CHOICES, MOST_EXPLANATION, NORMAL, Question
from vesalius.demo.terms import term

if TYPE_CHECKING:
    from vesalius.data.record import Finding
    from vesalius.demo.store.pictures import StoredPicture
    from vesalius.demo.store.schema import Store
    from vesalius.models.support import Support

USUAL_CHOICES = 4
_NORMAL = re.compile(r"\bnormal\b|\bunremarkable\b|正常|未见异常", re.IGNORECASE)


def questions_of(
    pictures: Sequence[StoredPicture], support: Support | None, language: Language, *, captions: Sequence[str] = (),
    diagnosis: str = "", differential: Sequence[str] = (),
) -> list[Question]:  # fmt: skip
    """One question about each picture. With a diagnosis, as a case has one, it is asked for among the differential;
    captions: what the case says of each picture, which goes into the explanation."""
    told = [*captions, *[""] * len(pictures)]
    return [_question(p, support, language, told[i], diagnosis, differential) for i, p in enumerate(pictures)]


@dataclass(frozen=True, kw_only=True)
class ToldCase:
    """What a quiz takes of a teaching case: the pictures that are shown before its answer, and what is said of each."""

    id: str
    title: str
    pictures: tuple[str, ...]
    captions: tuple[str, ...]
    diagnosis: str
    differential: tuple[str, ...]


def cases_of(store: Store, account: str) -> list[ToldCase]:
    """A person's cases, the newest first."""
    with store.read() as db:
        rows = db.execute("SELECT id, title, body FROM cases WHERE account = ? ORDER BY updated DESC", [account])
        told = [(row["id"], row["title"], json.loads(row["body"])) for row in rows]
        there = {row["id"] for row in db.execute("SELECT id FROM pictures WHERE account = ?", [account])}
    cases = []
    for name, title, body in told:
        images = [i for i in body.get("images", ()) if i["picture"] in there and not i.get("in_answer")]
        cases.append(
            ToldCase(
                id=name, title=title or body.get("diagnosis", ""), pictures=tuple(i["picture"] for i in images),
                captions=tuple((i.get("caption") or body.get("discussion", ""))[:MOST_EXPLANATION] for i in images),
                diagnosis=body.get("diagnosis", ""), differential=tuple(body.get("differential", ())),
            )
        )  # fmt: skip
    return cases


def distractors(support: Support | None, modality: str, shown: Sequence[str], language: Language = "en") -> list[str]:
    """Findings that the base knows of a modality beside those that are shown, the commonest first, in a language."""
    known = () if support is None else support.findings(modality)
    return [term(kind, language) for kind in known if kind and kind not in shown]


def findings_of(picture: StoredPicture, support: Support | None) -> list[Finding]:
    """What a picture was asked to show."""
    sample = picture.sample
    known = [f for f in sample.findings if f.present]
    return known or ([] if support is None else [*support.findings_in(sample.text).values()])


def _question(
    picture: StoredPicture, support: Support | None, language: Language, caption: str, diagnosis: str,
    differential: Sequence[str],
) -> Question:  # fmt: skip
    sample = picture.sample
    shown = list(dict.fromkeys(f.kind for f in findings_of(picture, support)))
    explanation = [caption or say(WORDS, "quiz.asked_for", language, text=sample.text)]
    explanation += [
        say(WORDS, "quiz.doubted", language, checker=term(check.checker, language))
        for check in picture.checks or ()
        if check.attribute in ("finding", "absence") and check.said == "no"
    ][:1]
    others, modality = distractors(support, sample.modality, shown, language), term(sample.modality, language)
    if diagnosis:
        key, right, wrong = "quiz.ask_diagnosis", diagnosis, [*differential, *([] if differential else others)]
    elif shown and others:
        key, right, wrong = "quiz.ask_finding", term(shown[0], language), others
    else:
        normal = not shown and _NORMAL.search(sample.text)
        return Question(
            kind="normal", picture=picture.id, text=say(WORDS, "quiz.ask_normal", language, modality=modality),
            right=(NORMAL if normal else ABNORMAL,), explanation="\n".join(explanation)[:MOST_EXPLANATION],
        )  # fmt: skip
    most = MOST_CHOICES if diagnosis else USUAL_CHOICES
    wrong = [each for each in dict.fromkeys(wrong) if each.casefold() != right.casefold()][: most - 1]
    choices = [each[:MOST_CHOICE] for each in (right, *wrong)]
    random.Random(picture.id).shuffle(choices)  # the right one is not always the first, nor where it was last time
    return Question(
        kind="single", picture=picture.id, text=say(WORDS, key, language, modality=modality),
        choices=tuple(choices), right=(choices.index(right[:MOST_CHOICE]),),
        explanation="\n".join(explanation)[:MOST_EXPLANATION],
    )  # fmt: skip
