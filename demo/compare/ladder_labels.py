"""Labels of real images in prompts: which of them could stand in another's place, and the prompt with it there."""

from __future__ import annotations

import re

from vesalius.data.texts.prompt import is_chinese
from vesalius.models.support import Support

_BEFORE_NORMAL = re.compile(
    r"\s*,?\s*(?:\b(?:showing|shows|with|of|from a case of|of a patient with)\b)?\s*(?:\b(?:a|an)\b)?\s*$",
    re.IGNORECASE,
)


def labels_beside(support: Support, text: str, modality: str) -> tuple[tuple[str, str, str], ...]:
    """(phrase of the text, label, its words) of each label that the base saw of the same modality and organ as the one
    that the text names, those most seen first; "normal" has no words of its own."""
    found = support.findings_in(text)
    organs: dict[str, str] = {}
    for phrase, finding in found.items():
        rows = [s for s in support.shown if s.modality == modality and [f.kind for f in s.findings] == [finding.kind]]
        real = [s for s in rows if s.num_real and s.organ]
        if real:
            organs[phrase] = str(max(real, key=lambda s: s.num_real).organ)
            kind = finding.kind
            break
    if not organs:
        return ()
    [(phrase, organ)] = organs.items()
    rows = [s for s in support.shown if s.modality == modality and s.organ == organ and s.num_real]
    seen = {s.findings[0].kind: s.num_real for s in rows if len(s.findings) == 1}
    others = []
    for name in sorted(seen, key=lambda k: -seen[k]):
        words = [w for w in support.terms.get(name, ()) if is_chinese(w) == is_chinese(phrase)]
        if name != kind and (name == "normal" or words):
            others.append((phrase, name, "" if name == "normal" else name if name.lower() in words else words[0]))
    return tuple(others)


def exchanged(text: str, phrase: str, word: str) -> str | None:
    """A text with another label in the place of a phrase, "" the normal one; None where the phrase is not there."""
    place = re.search(rf"(?<![a-z0-9]){re.escape(phrase)}(?:s|es)?(?![a-z0-9])", text, re.IGNORECASE)
    if place is None:
        return None
    before, after = text[: place.start()], text[place.end() :]
    if word:
        article = re.search(r"\b(an?) (?:[\w-]+ )*$", before, re.IGNORECASE)
        if article and article.end() == article.end(1) + 1:
            before = f"{before[: article.start(1)]}{'an' if word[0].lower() in 'aeiou' else 'a'} "
        return f"{before}{word}{after}"
    if is_chinese(text):
        return f"{re.sub('(?:，|显示|示|可见|一个)+$', '', before)}，正常{after}"
    return f"{_BEFORE_NORMAL.sub('', before)}, normal{after}"
