"""Scores of single pictures by the judge, beside a set of reference images, which are the training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional

from vesalius.data.modality import find_modality
from vesalius.data.texts.prompt import clean
from vesalius.eval.gates.scores import MEASURES, Case, JudgeReading, Scores, read_images
from vesalius.eval.obedience.questions import contrasts
from vesalius.eval.privacy.copies import Suspect, copy_distances
from vesalius.eval.privacy.nearest import ROWS
from vesalius.models.networks.judge import Judge, attribute_names

NEIGHBOURS = 5
"""The nearest references whose distance says how typical a picture is (deep nearest neighbours, Sun et al. 2022)."""
OTHERS = 64
"""Prompts of a modality that stand for all others."""
MOST_TEXTS, FEWEST_TEXTS = 64, 5
"""Texts of an organ that stand for it, and those below which nothing does."""
MARGINS = {"side": "side_margin", "negation": "negation_margin", "finding": "finding_margin"}
"""What a contrast changes, and the score that it gives."""


class Scorer:
    """Scores pictures with the judge against one set of reference images (the training images).

    Scores of a case, all floats; where a question cannot be asked of it, its score lacks:
      contrast ... hu_high   of its pixels (`measure_pixels`); colour of modalities in colour, HU of CT that has them
      modality               the judge's probability of the modality asked for
      organ_margin           agreement with texts of the organ, less that with the likeliest other of the modality
      agreement              cosine of picture and prompt
      side_margin, negation_margin, finding_margin   agreement with the prompt, less that with the same prompt made
                             false in one thing (`vesalius.eval.obedience.questions.contrasts`)
      other_margin           agreement less the mean ones of this picture with other prompts of the modality and of this
                             prompt with other pictures of it: what wording and picture do by themselves has no say
      shows X, lacks X       probability that finding X is there, or is not, as asked for
      side X                 probability of its side less that of the other
      label_margin           probability of the label less that of the likeliest other one of the organ
      findings               the least of what is asked of findings, as a probability
      nearest_train          distance to the nearest reference image of the modality, in the judge's embedding
      typical_distance       the same to the fifth nearest
      nearest_pixels         distance of its greys to the likest reference, when laid over it
      (`vesalius.eval.privacy.copies`)
    """

    def __init__(
        self,
        judge: Judge,
        references: Sequence[Case],
        *,
        reading: torch.Tensor | None = None,
        originals: torch.Tensor | None = None,
        quiet: bool = False,
    ) -> None:
        """reading: `JudgeReading` of the references, float32 [N, C], where it is at hand. originals: rows of
        `vesalius.eval.privacy.copies.Original` of them, float32 [N, K]; without them no pixels are compared."""
        self.judge, self.references, self.originals = judge, list(references), originals
        if reading is None:
            images = read_images(references, judge.config.image_size, "reading reference images", quiet=quiet)
            reading = JudgeReading(judge)(images) if len(references) else torch.empty(0, 1)
        self.pixels = reading[:, : len(MEASURES)]
        self.embeddings = JudgeReading(judge).split(reading)[1] if len(references) else torch.empty(0, 1)
        self.modalities = np.array([c.modality for c in references])
        self._told: dict[tuple[str, str], tuple[set[str | None], set[str | None]]] = {}
        for case in references:
            organs, labels = self._told.setdefault((case.modality, clean(case.text)), (set(), set()))
            organs.add(case.organ)
            labels.add(case.label)
        names = sorted(set(self.modalities.tolist()))
        self._others = {m: self._texts_of(m, OTHERS).mean(0) for m in names}
        self._pictures = {m: self.embeddings[torch.from_numpy(self.modalities == m)].mean(0) for m in names}
        self._organs = {m: self._organ_texts(m) for m in names}

    def __call__(self, cases: Sequence[Case], images: torch.Tensor) -> list[Scores]:
        """Scores of each case, whose pictures are uint8 [N, 3, H, W]."""
        suspects = Suspect()(images) if self.originals is not None else None
        return self.score(cases, JudgeReading(self.judge)(images), suspects)

    def known(self, case: Case) -> Case:
        """The case with the organ and label of the references that have its text, where they agree and it has none."""
        organs, labels = self._told.get((case.modality, clean(case.text)), (set(), set()))
        return replace(
            case, organ=case.organ or (next(iter(organs)) if len(organs) == 1 else None) or self._organ_named(case),
            label=case.label or (next(iter(labels)) if len(labels) == 1 else None),
        )  # fmt: skip

    def score(self, cases: Sequence[Case], reading: torch.Tensor, suspects: torch.Tensor | None = None) -> list[Scores]:
        """The same from what `JudgeReading` made, float32 [N, C], and, where copies are searched for by pixels too,
        `vesalius.eval.privacy.copies.Suspect`."""
        cases = [self.known(c) for c in cases]
        measures, embedded, modality, attributes = JudgeReading(self.judge).split(reading)
        rows: list[Scores] = []
        names = self.judge.config.modalities
        for i, case in enumerate(cases):
            row = measures_of(case, measures[i])
            if case.modality in names:
                row["modality"] = float(modality[i, names.index(case.modality)])
            rows.append(row | asked_of_findings(self.judge, case, attributes[i]))
        self._add_agreement(cases, embedded, rows)
        near = self.nearest(cases, embedded)
        for row, distances in zip(rows, near.tolist(), strict=True):
            row["nearest_train"], row["typical_distance"] = distances[0], distances[-1]
        if suspects is not None and self.originals is not None:
            self._add_pixels(cases, suspects, self.originals, rows)
        return rows

    def nearest(self, cases: Sequence[Case], embedded: torch.Tensor) -> torch.Tensor:
        """Distances to the nearest references of each case's modality (of any where there is none), [N, k], rising.

        Infinite where there are no references.
        """
        found = torch.full((len(cases), NEIGHBOURS), torch.inf)
        for name in sorted({c.modality for c in cases}) if len(self.references) else ():
            mine = torch.tensor([i for i, c in enumerate(cases) if c.modality == name])
            pool = torch.from_numpy(np.flatnonzero(self.modalities == name))
            pool = pool if len(pool) else torch.arange(len(self.references))
            most, others = min(NEIGHBOURS, len(pool)), self.embeddings[pool].double()
            parts = [
                torch.cdist(part.double(), others).topk(most, largest=False).values
                for part in embedded[mine].split(ROWS)
            ]
            least = torch.cat(parts).float()
            found[mine] = torch.cat([least, least[:, -1:].expand(-1, NEIGHBOURS - most)], 1)
        return found

    def _add_pixels(
        self, cases: Sequence[Case], suspects: torch.Tensor, originals: torch.Tensor, rows: list[Scores]
    ) -> None:
        for name in sorted({c.modality for c in cases}):
            mine = [i for i, c in enumerate(cases) if c.modality == name]
            distances, _ = copy_distances(suspects[mine], originals[self._pool(name)])
            for i, distance in zip(mine, distances.tolist(), strict=True):
                rows[i]["nearest_pixels"] = distance

    def _pool(self, modality: str) -> slice | torch.Tensor:
        """Places of the references of a modality; where they lie together a slice, which copies nothing."""
        places = np.flatnonzero(self.modalities == modality)
        if len(places) and places[-1] - places[0] == len(places) - 1:
            return slice(int(places[0]), int(places[-1]) + 1)
        return torch.from_numpy(places)

    def _add_agreement(self, cases: Sequence[Case], embedded: torch.Tensor, rows: list[Scores]) -> None:
        """Agreement with the prompt, with the same prompt made false, with other prompts, and with texts of organs."""
        asked: dict[tuple[object, ...], list[tuple[str, str, str]]] = {}
        for case in cases:  # what is asked depends on the case alone, whatever others are scored beside it
            key = (case.modality, case.text, case.findings)
            if key not in asked:
                found = contrasts([case])
                asked[key] = [(MARGINS[c.attribute], c.true, c.false) for c in found if c.attribute in MARGINS]
        texts = [clean(c.text) for c in cases] + [t for each in asked.values() for _, *pair in each for t in pair]
        texts = list(dict.fromkeys(texts))
        known = self.judge.embed_texts(texts)
        place = {text: i for i, text in enumerate(texts)}
        for i, (case, row) in enumerate(zip(cases, rows, strict=True)):
            own, seen = clean(case.text), embedded[i]
            row["agreement"] = float(seen @ known[place[own]])
            for name, true, false in asked[case.modality, case.text, case.findings]:
                row[name] = float(seen @ (known[place[true]] - known[place[false]]))
            if case.modality in self._others:
                text, picture = self._others[case.modality], self._pictures[case.modality]
                row["other_margin"] = float((seen - picture) @ (known[place[own]] - text))
            organs = self._organs.get(case.modality, {})
            if case.organ is not None and case.organ in organs and len(organs) > 1:
                told = {organ: float(seen @ text) for organ, text in organs.items()}
                row["organ_margin"] = told.pop(case.organ) - max(told.values())

    def _texts_of(self, modality: str, most: int, organ: str | None = None) -> torch.Tensor:
        """The judge's embeddings of at most so many texts of references, at random, float32 [N, C]."""
        mine = [c for c in self.references if c.modality == modality and organ in (None, c.organ)]
        texts = sorted({clean(c.text) for c in mine})
        picked = np.random.default_rng(0).permutation(len(texts))[:most]
        return self.judge.embed_texts([texts[i] for i in picked])

    def _organ_texts(self, modality: str) -> Mapping[str, torch.Tensor]:
        """The mean text of each organ that enough references show, as a unit vector."""
        counts: dict[str, int] = {}
        for case in self.references:
            if case.modality == modality and case.organ:
                counts[case.organ] = counts.get(case.organ, 0) + 1
        return {
            organ: functional.normalize(self._texts_of(modality, MOST_TEXTS, organ).mean(0), dim=0)
            for organ, num in sorted(counts.items())
            if num >= FEWEST_TEXTS
        }

    def _organ_named(self, case: Case) -> str | None:
        """The one organ of the modality whose name is in the text."""
        text = f" {clean(case.text).lower()} "
        named = [organ for organ in self._organs.get(case.modality, {}) if organ.lower() in text]
        return named[0] if len(named) == 1 else None


def measures_of(case: Case, row: torch.Tensor) -> Scores:
    """What is measured of the pixels, as far as it says something of this modality."""
    modality, found = find_modality(case.modality), dict(zip(MEASURES, row.tolist(), strict=True))
    windowed = bool(modality.windows) and found["colour"] > 1
    left_out = [] if windowed else ["hu_low", "hu_high"]
    left_out += [] if modality.channels == 3 else ["colour"]
    return {name: value for name, value in found.items() if name not in left_out}


def asked_of_findings(judge: Judge, case: Case, attributes: torch.Tensor) -> Scores:
    """What the judge's finding head says of what is asked for and denied. attributes: its probabilities, [A]."""
    index = judge.attribute_index
    found: Scores = {}
    obeyed: list[float] = []
    for finding in case.findings:
        kind = f"{case.modality}/{finding.kind}"
        if kind not in index:
            continue
        shown = float(attributes[index[kind]])
        if not finding.present:
            found[f"lacks {kind}"] = 1 - shown
            obeyed.append(1 - shown)
            continue
        found[f"shows {kind}"] = shown
        sides = [float(attributes[index[n]]) for n in attribute_names(case.modality, finding)[1:] if n in index]
        obeyed += [shown, *sides]
        if len(sides) == 2:
            found[f"both sides {kind}"] = min(sides) - 0.5
        other = f"{kind}/{'left' if finding.side == 'right' else 'right'}"
        if len(sides) == 1 and other in index:
            found[f"side {kind}"] = sides[0] - float(attributes[index[other]])
            obeyed.append(1 - float(attributes[index[other]]))
    group = f"{case.modality}/{case.organ}/"
    if case.label and f"{group}{case.label}" in index:
        told = {name: float(attributes[i]) for name, i in index.items() if name.startswith(group)}
        own = told.pop(f"{group}{case.label}")
        found["label_margin"] = own - max(told.values(), default=0.5)
    return found | ({"findings": min(obeyed)} if obeyed else {})
