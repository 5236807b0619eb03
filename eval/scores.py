"""Scores of single samples, and the reference that gives them a scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from vesalius.data.image import load_stack
from vesalius.data.modality import find_modality
from vesalius.data.prompt import clean, swap_sides
from vesalius.data.record import Finding, Record
from vesalius.data.split import patient_key
from vesalius.eval.metrics import nearest_distances
from vesalius.eval.strata import subgroups_of
from vesalius.inference.sample import Sample
from vesalius.models.detector import Window
from vesalius.models.judge_network import Judge, attribute_names

Scores = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One picture to be scored, sample or record alike: where it lies, what its text says.

    label: of the record; of a sample, that of the records whose text is its prompt. shows: findings of those records,
    which the prompt need not name. patient: None where it is not known, and of samples. subgroups: of persons, name ->
    value, as `vesalius.eval.strata` reads them.
    """

    path: Path
    text: str
    modality: str
    findings: tuple[Finding, ...] = ()
    label: str | None = None
    shows: tuple[str, ...] = ()
    patient: str | None = None
    subgroups: Mapping[str, str] = field(default_factory=dict)


def case_of_sample(folder: Path, sample: Sample) -> Case:
    """A sample under its prompt, in Hounsfield units where it has them: so are the real images it is compared with."""
    path = folder / (sample.raw16 or sample.file_name)
    return Case(
        path=path, text=sample.text, modality=sample.modality, findings=sample.findings,
        subgroups=subgroups_of({}, sample.text),
    )  # fmt: skip


def case_of_record(folder: Path, record: Record) -> Case:
    """A record under its caption, or its text where it has none: what a prompt for it would be."""
    modality, text = find_modality(record.modality).name, record.caption or record.text
    return Case(
        path=folder / record.file_name, text=text, modality=modality, findings=record.findings, label=record.label,
        
        patient=patient_of(record),
        subgroups=subgroups_of(record.extra, record.text),
    )  # fmt: skip


def patient_of(record: Record) -> str | None:
    """Whose picture it is, or which group's (`patient_key`): numbers of one source are not those of another."""
    key = patient_key(record)
    return f"{record.source}: {key}" if record.source and key else key


def read_images(cases: Sequence[Case], size: int, what: str, *, quiet: bool = False) -> torch.Tensor:
    """The pictures of the cases, uint8 [N, 3, size, size]."""
    return torch.from_numpy(load_stack([(c.path, c.modality) for c in cases], size, what=what, quiet=quiet))


class JudgeReading:
    """All that scores need of a picture, in one pass and in the shape of a detector's features, so that it is kept as
    those are: contrast, the judge's unit embedding, its probabilities of each modality and of each attribute."""

    name = "judge reading"
    resize = "none"
    window: Window = "model"

    def __init__(self, judge: Judge) -> None:
        self.judge, self.digest, self.image_size = judge, judge.digest, judge.config.image_size

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        contrast = images.float().mean(1).flatten(1).std(1)
        return torch.cat([contrast[:, None], *self.judge.look(images)], 1)

    def split(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Contrast [N], embedding, modality and attributes out of what was made."""
        config = self.judge.config
        sizes = [1, config.embedding, len(config.modalities), len(config.attributes)]
        contrast, embedded, modality, attributes = rows.split(sizes, 1)
        return contrast[:, 0], embedded, modality, attributes


class Scorer:
    """Scores pictures with the judge against one set of reference images (the training images).

    Scores of a case, all floats:
      contrast        standard deviation of the picture's luminance, 0 to 127: a blank one is near 0
      modality        the judge's probability of the modality asked for
      agreement       cosine of picture and prompt
      side_margin     agreement less that with left and right exchanged; only where the prompt names a side
      findings        the least probability, over the findings asked for or denied, that the picture obeys; where known
      nearest_train   distance to the nearest reference image of the modality, in the judge's embedding
    """

    def __init__(
        self, judge: Judge, references: Sequence[Case], *, embeddings: torch.Tensor | None = None, quiet: bool = False
    ) -> None:
        """embeddings: the judge's of the references, float32 [N, C], where they are at hand."""
        self.judge, self.references = judge, list(references)
        if embeddings is None:
            images = read_images(references, judge.config.image_size, "reading reference images", quiet=quiet)
            embeddings = judge.embed_images(images)
        self.embeddings = embeddings
        self.modalities = np.array([c.modality for c in references])

    def __call__(self, cases: Sequence[Case], images: torch.Tensor) -> list[Scores]:
        """Scores of each case, whose pictures are uint8 [N, 3, H, W]."""
        return self.score(cases, JudgeReading(self.judge)(images))

    def score(self, cases: Sequence[Case], reading: torch.Tensor) -> list[Scores]:
        """The same from what `JudgeReading` made of the pictures."""
        contrast, embedded, modality, attributes = JudgeReading(self.judge).split(reading)
        prompts = [clean(c.text) for c in cases]
        swaps = [swap_sides(p) or p for p in prompts]
        texts = list(dict.fromkeys([*prompts, *swaps]))
        place, known = {text: i for i, text in enumerate(texts)}, self.judge.embed_texts(texts)
        agreement = (embedded * known[[place[p] for p in prompts]]).sum(1)
        swapped = (embedded * known[[place[p] for p in swaps]]).sum(1)
        names = self.judge.config.modalities
        nearest, _ = self.nearest(cases, embedded)
        rows: list[Scores] = []
        for i, case in enumerate(cases):
            row = {
                "contrast": float(contrast[i]),
                "modality": float(modality[i, names.index(case.modality)]) if case.modality in names else 0.0,
                "agreement": float(agreement[i]),
                "nearest_train": float(nearest[i]),
            }
            if swap_sides(case.text):
                row["side_margin"] = float(agreement[i] - swapped[i])
            obeyed = finding_probabilities(self.judge, case, attributes[i])
            if obeyed:
                row["findings"] = min(obeyed)
            rows.append(row)
        return rows

    def nearest(self, cases: Sequence[Case], embedded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Distance to, and index of, the nearest reference of each case's modality (of any where there is none)."""
        distances, indices = torch.zeros(len(cases)), torch.zeros(len(cases), dtype=torch.long)
        for name in sorted({c.modality for c in cases}):
            mine = torch.tensor([i for i, c in enumerate(cases) if c.modality == name])
            pool = torch.from_numpy(np.flatnonzero(self.modalities == name))
            pool = pool if len(pool) else torch.arange(len(self.references))
            near, where = nearest_distances(embedded[mine], self.embeddings[pool])
            distances[mine], indices[mine] = near, pool[where]
        return distances, indices


def finding_probabilities(judge: Judge, case: Case, attributes: torch.Tensor) -> list[float]:
    """For each finding that the judge knows: the probability that the picture obeys, on its side and not the other."""
    index = judge.attribute_index
    obeyed: list[float] = []
    for finding in case.findings:
        kind = f"{case.modality}/{finding.kind}"
        if kind not in index:
            continue
        if not finding.present:
            obeyed.append(1 - float(attributes[index[kind]]))
            continue
        wanted = [n for n in attribute_names(case.modality, finding) if n in index]
        obeyed += [float(attributes[index[n]]) for n in wanted]
        if finding.side in ("left", "right"):
            other = f"{kind}/{'left' if finding.side == 'right' else 'right'}"
            if other in index:
                obeyed.append(1 - float(attributes[index[other]]))
    return obeyed
