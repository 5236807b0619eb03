"""What the parts of an evaluation share: samples, real images, training images, their features and scores."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from vesalius.data.images.image import read_image
from vesalius.data.record import Record, digest_file, load_records
from vesalius.eval.config import EvalConfig
from vesalius.eval.features import NETWORKS, ImageSet, Reading, feature_folder, features_of, open_images
from vesalius.eval.gates.gates import Thresholds, Verdict, calibrate, check_enough, judge_sample
from vesalius.eval.gates.scorer import Scorer, measures_of
from vesalius.eval.gates.scores import Case, JudgeReading, Scores, case_of_record, case_of_sample
from vesalius.eval.obedience.questions import independent, phantom_like
from vesalius.eval.obedience.readings import OwnReading, ReaderReading, WitnessReading
from vesalius.eval.privacy.copies import Original, Suspect
from vesalius.eval.report import check_out
from vesalius.eval.strata import with_labels
from vesalius.inference.sample import Sample, load_samples
from vesalius.models.computing.machine import has_bf16
from vesalius.models.detectors.detector import Detector, JudgeDetector, WitnessDetector
from vesalius.models.detectors.source import Features, open_detectors
from vesalius.models.networks.judge import Judge
from vesalius.models.networks.reader import Reader
from vesalius.models.networks.witness import Witness

Which = Literal["samples", "real", "train", "beside"]
MANY = 12_000
"""Pictures of all sets together from which on networks compute in bfloat16."""
SEARCH_TRAIN = ("privacy", "gates")
"""Parts that need the features of all training images."""


@dataclass(frozen=True, kw_only=True)
class Folders:
    """What an evaluation would compare, before any picture is opened."""

    samples: list[Sample]
    real: list[Case]
    train: list[Case]
    shared: list[Case]
    """real images that are left out, since their patients are among the training images"""
    phantoms: tuple[str, ...] = ()
    """modalities whose real images are phantoms alone"""


def open_folders(config: EvalConfig, parts: Collection[str], *, needs_train: bool) -> Folders:
    """The samples and records of an evaluation. ValueError where they do not fit together, or a part is unknown."""
    for name in config.parts:
        if name not in parts:
            near = difflib.get_close_matches(name, parts, n=1, cutoff=0.4)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ValueError(f"--parts: '{name}' is not known{hint} ({', '.join(parts)})")
    if not config.parts:
        raise ValueError(f"--parts: names nothing to measure ({', '.join(parts)})")
    samples = load_samples(config.samples)
    modalities = {s.modality for s in samples}
    records = load_records(config.real, config.split)
    real = [c for c in _cases(config.real, records) if c.modality in modalities]
    if not real:
        raise ValueError(
            f"{config.real}: split '{config.split}' has no images of {', '.join(sorted(modalities))}, "
            "which the samples are of; give another --real or --split"
        )
    trained = config.train or config.real
    try:
        train = [c for c in _cases(trained, load_records(trained, "train")) if c.modality in modalities]
    except ValueError:
        if needs_train or config.train is not None:
            raise
        train = []  # a folder of real images alone is enough for what needs no others
    check_folders(config, samples)
    if needs_train and not train:
        raise ValueError(
            f"{trained}: no training images of {', '.join(sorted(modalities))} to search for copies; "
            "give another --train"
        )
    shared = {c.patient for c in real if c.patient} & {c.patient for c in train if c.patient}
    if config.split != "train" and shared:
        if config.shared_patients == "refuse":
            raise ValueError(
                f"{config.real}: {len(shared)} patients of split '{config.split}' are in the training images too, "
                f"'{min(shared)}' among them, and distances to them are too small; give --shared-patients leave-out, "
                "or split by patient and train again. Where they only have the same number, tell the datasets apart in "
                "their column `source`"
            )
        left_out = [c for c in real if c.patient in shared]
        real = [c for c in real if c.patient not in shared]
    else:
        left_out = []
    for name, count in Counter(c.modality for c in [*real, *left_out]).items():
        check_enough(name, count - sum(c.modality == name for c in left_out), f"{config.split} (of {config.real})")
    return Folders(samples=samples, real=real, train=train, shared=left_out, phantoms=phantom_like(records))


def check_folders(config: EvalConfig, samples: Sequence[Sample]) -> None:
    """ValueError where --out holds something else than a report, or a sample's picture is not the one drawn."""
    check_out(config.out, "report", ("report.json", "usefulness"))
    for sample in samples:
        path = sample.picture(config.samples, units=False)
        if path.is_file() and digest_file(path) != sample.sha256:
            read_image(path)  # says what is wrong with it where it does not open
            raise ValueError(f"{path}: was changed since it was drawn; run its `vesalius generate` line again")


def _cases(folder: Path, records: Sequence[Record]) -> list[Case]:
    return [case_of_record(folder, r) for r in records if r.origin != "synthetic"]


@dataclass(frozen=True, kw_only=True)
class Context:
    """One evaluation: its sets of pictures, and what is computed of them once, when a part first asks for it."""

    config: EvalConfig
    detectors: list[Detector]
    drawn: list[Sample]
    samples: ImageSet
    real: ImageSet
    trained: list[Case]
    phantoms: tuple[str, ...] = ()
    """modalities whose real images are phantoms alone, so that the reader can measure their samples"""
    _features: dict[tuple[str, str], torch.Tensor] = field(default_factory=dict, repr=False)

    @cached_property
    def half(self) -> bool:
        """Whether this package's networks look at all sets in bfloat16: where pictures are so many that the time counts
        and chance moves the numbers more, on a machine that computes so."""
        return len(self.samples.cases) + len(self.real.cases) + len(self.trained) > MANY and has_bf16("cpu")

    def precision_of(self, detector: Detector | Reading) -> str:
        """In what a detector computes, as far as it is known here."""
        own = isinstance(self._asked(detector), NETWORKS)
        return ("bfloat16" if self.half else "float32") if own else "its own"

    @property
    def modalities(self) -> list[str]:
        return sorted({c.modality for c in self.samples.cases})

    @cached_property
    def train(self) -> ImageSet:
        """The training images, looked at where a part asks for them."""
        return open_images("training images", self.trained, quiet=self.config.json)

    @cached_property
    def beside(self) -> ImageSet:
        """Training images, at random, of each modality up to twice as many as samples or real images: as near to the
        real images as a generator can be expected to come. Empty where those are training images themselves."""
        if self._among_train is not None:
            return self.train.part(self._among_train)
        chosen = [self.trained[i] for i in self._chosen_beside]
        return open_images("training images", chosen, quiet=self.config.json)

    @cached_property
    def _chosen_beside(self) -> list[int]:
        """Places of `beside` among the training images."""
        rng = np.random.default_rng(self.config.seed)
        chosen: list[int] = []
        for modality in self.modalities if self.config.split != "train" else ():
            mine = [i for i, c in enumerate(self.trained) if c.modality == modality]
            most = 2 * max(len(self.samples.of(modality)), len(self.real.of(modality)))
            chosen += rng.permutation(mine)[:most].tolist()
        return sorted(chosen)

    @cached_property
    def _among_train(self) -> list[int] | None:
        """Places of `beside` in `train`, where some part looks at all of those: none is looked at twice then."""
        if not set(SEARCH_TRAIN) & set(self.config.parts):
            return None
        place = {i: row for row, i in enumerate(self.train.kept)}
        return [place[i] for i in self._chosen_beside if i in place]

    @property
    def unreadable(self) -> list[str]:
        """Why pictures are left out, each with its file, of the sets that were looked at."""
        seen = [self.samples, self.real, *(vars(self)[n] for n in ("train", "beside") if n in vars(self))]
        return sorted({line for images in seen for line in images.unreadable})

    def set_of(self, which: Which) -> ImageSet:
        images: ImageSet = getattr(self, which)
        return images

    def read(self, which: Which, detectors: Sequence[Detector | Reading]) -> None:
        """Have the features of a set by several detectors, with its pictures read once, for all other parts too."""
        if which == "beside" and self._among_train is not None:
            self.read("train", detectors)
            return
        if all((which, self._asked(d).name) in self._features for d in detectors):
            return
        asked = {d.name: d for d in map(self._asked, [*detectors, *self._wanted(which)])}
        lacking = [d for name, d in asked.items() if (which, name) not in self._features]
        folder, quiet = self.config.cache or feature_folder(), self.config.json
        found = features_of(lacking, self.set_of(which), folder, half=self.half, quiet=quiet)
        self._features.update({(which, d.name): f for d, f in zip(lacking, found, strict=True)})

    def rows(self, which: Which, detector: Detector | Reading) -> torch.Tensor:
        """What was made of a set, float32 [N, C] in the order of its cases."""
        self.read(which, [detector])
        name = self._asked(detector).name
        if which == "beside" and self._among_train is not None:
            return self._features["train", name][self._among_train]
        return self._features[which, name]

    def features(self, which: Which, detector: Detector) -> torch.Tensor:
        """Features of a set, float32 [N, C] in the order of its cases."""
        rows = self.rows(which, detector)
        if isinstance(detector, JudgeDetector):
            embedded = JudgeReading(detector.judge).split(rows)[1]
            return embedded * math.sqrt(embedded.shape[1])
        return WitnessReading(detector.witness).split(rows)[0] if isinstance(detector, WitnessDetector) else rows

    def _asked(self, detector: Detector | Reading) -> Detector | Reading:
        """Judge and witness look at a picture once, for their features and for all else that they say."""
        if isinstance(detector, JudgeDetector):
            return JudgeReading(detector.judge)
        return WitnessReading(detector.witness) if isinstance(detector, WitnessDetector) else detector

    def _wanted(self, which: Which) -> list[Detector | Reading]:
        """What the parts that run will ask of a set."""
        parts = set(self.config.parts)
        wanted: list[Detector | Reading] = []
        if parts & {"privacy", "gates"} and which != "beside":
            wanted.append(Original() if which == "train" else Suspect())
        if "fidelity" in parts or ("privacy" in parts and which != "beside"):
            wanted += self.detectors
        if "gates" in parts and which != "beside":
            wanted.append(JudgeReading(self.judge))
        if "obedience" in parts and which in ("samples", "real"):
            wanted += [r for name, r in self.readings.items() if name != "reader" or which == "samples"]
        return wanted

    @cached_property
    def readings(self) -> dict[str, OwnReading]:
        """What may measure obedience, by name: networks that gated nothing."""
        made: dict[str, OwnReading] = {}
        left = independent(self.config.gated_by)
        if "judge" in left:
            made["judge"] = JudgeReading(self.judge)
        if "witness" in left:
            made["witness"] = WitnessReading(self.witness)
        if "reader" in left:
            made["reader"] = ReaderReading(self.reader, self.phantoms)
        return made

    @cached_property
    def judge_detector(self) -> JudgeDetector:
        return next((d for d in self.detectors if isinstance(d, JudgeDetector)), None) or JudgeDetector()

    @property
    def judge(self) -> Judge:
        return self.judge_detector.judge

    @cached_property
    def witness(self) -> Witness:
        known = (d.witness for d in self.detectors if isinstance(d, WitnessDetector))
        return next(known, None) or Witness.load(self.config.witness)

    @cached_property
    def reader(self) -> Reader:
        return Reader.load()

    def embeddings(self, which: Which) -> torch.Tensor:
        """The judge's unit embeddings of a set, float32 [N, C]."""
        return JudgeReading(self.judge).split(self._reading(which))[1]

    def _reading(self, which: Which) -> torch.Tensor:
        return self.rows(which, JudgeReading(self.judge))

    @cached_property
    def scorer(self) -> Scorer:
        original = Original()
        self.read("train", [JudgeReading(self.judge), original])
        return Scorer(
            self.judge, self.train.cases, reading=self._reading("train"),
            originals=self.features("train", original), quiet=self.config.json,
        )  # fmt: skip

    @cached_property
    def scores(self) -> list[Scores]:
        """Scores of the samples (`Scorer`)."""
        return self._scores("samples", self.samples.cases)

    @cached_property
    def real_scores(self) -> list[Scores]:
        return self._scores("real", self.real.cases)

    def _scores(self, which: Which, cases: Sequence[Case]) -> list[Scores]:
        suspect = Suspect()
        self.read(which, [JudgeReading(self.judge), suspect])
        return self.scorer.score(cases, self._reading(which), self.features(which, suspect))

    @cached_property
    def thresholds(self) -> dict[str, Thresholds]:
        """Limits of the gates, from the real images; those of pixels from the training images too."""
        measured = [measures_of(c, row) for c, row in zip(self.train.cases, self.scorer.pixels, strict=True)]
        return calibrate(self.real.families, self.real_scores, seen=(self.train.families, measured))

    @cached_property
    def verdicts(self) -> list[Verdict]:
        return [judge_sample(s, row, self.thresholds) for s, row in zip(self.drawn, self.scores, strict=True)]


def open_context(
    config: EvalConfig, folders: Folders, detectors: Sequence[str | Detector | Features] | None = None
) -> Context:
    """Open the detectors, then look at every picture once. detectors: in place of the configuration's, which may be
    functions too. ValueError where no sample opens, or too few real images do."""
    named: list[str | Detector | Features] = [
        WitnessDetector(Witness.load(config.witness)) if name == "witness" and config.witness else name
        for name in config.detector
    ]
    opened = open_detectors(detectors or named)
    records = [*folders.real, *folders.train]
    cases = with_labels([case_of_sample(config.samples, s) for s in folders.samples], records)
    samples = open_images("samples", cases, quiet=config.json)
    if not samples.cases:
        raise ValueError(
            f"{config.samples}: none of {len(cases)} samples opens: {samples.unreadable[0]}; draw them again"
        )
    real = open_images("real images", folders.real, quiet=config.json)
    for name in {c.modality for c in folders.real}:
        check_enough(name, len(real.of(name)), f"{config.split} (of {config.real}) readable")
    return Context(
        config=config, detectors=opened, drawn=[folders.samples[i] for i in samples.kept], samples=samples, real=real,
        trained=folders.train, phantoms=folders.phantoms,
    )  # fmt: skip
