"""What witness and reader say of a picture, as rows of numbers in the shape of a detector's features: each picture is
read once for all who need it, and the rows are kept on disk as features are (as `JudgeReading` does for the judge)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from vesalius.data.phantoms.phantom import KINDS, RULES
from vesalius.data.record import Finding, Side
from vesalius.eval.gates.scores import Case, JudgeReading
from vesalius.models.detectors.detector import Window
from vesalius.models.networks.reader import Reader
from vesalius.models.networks.witness import Witness

SIDES: tuple[Side | None, ...] = (None, "left", "right", "bilateral")


class WitnessReading:
    """The witness's features of a picture as a whole, then the probabilities of all its heads."""

    name = "witness reading"
    resize = "none"
    window: Window = "model"

    def __init__(self, witness: Witness) -> None:
        self.witness, self.digest, self.image_size = witness, witness.digest, witness.config.image_size

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        features = self.witness.features(images)
        heads = [self.witness.read(features, head) for head in self.witness.config.heads]
        return torch.cat([features[:, : self.witness.num_global], *heads], 1)

    def split(self, rows: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The features, and by head its probabilities, out of what was made."""
        heads = self.witness.config.heads
        embedded, *said = rows.split([self.witness.num_global, *map(len, heads.values())], 1)
        return embedded, dict(zip(heads, said, strict=True))


class ReaderReading:
    """What the phantom reader measures in pictures of the modalities named; in others nothing.

    Four numbers for each kind that a phantom of the modality can have, in the order of `KINDS`: whether it is there,
    its side (of `SIDES`), its size in mm (-1: none) and its count.
    """

    name = "reader reading"
    resize = "none"
    window: Window = "model"

    def __init__(self, reader: Reader, modalities: Collection[str]) -> None:
        self.reader, self.image_size = reader, reader.config.image_size
        self.modalities = tuple(sorted(m for m in modalities if m in RULES))
        self.digest = f"{reader.digest} {', '.join(self.modalities)}"

    def of_cases(self, images: torch.Tensor, cases: Sequence[Case]) -> torch.Tensor:
        """uint8 [N, 3, H, W] of these cases -> float32 [N, 4 K]."""
        rows = torch.zeros(len(cases), max(map(len, KINDS.values())), 4)
        mine = [i for i, c in enumerate(cases) if c.modality in self.modalities]
        readings = self.reader.read(images[mine], [cases[i].modality for i in mine]) if mine else []
        for i, reading in zip(mine, readings, strict=True):
            kinds = KINDS[cases[i].modality]
            for f in reading.findings:
                size = -1.0 if f.size_mm is None else f.size_mm
                rows[i, kinds.index(f.kind)] = torch.tensor([1.0, SIDES.index(f.side), size, f.count])
        return rows.flatten(1)

    def split(self, rows: torch.Tensor, cases: Sequence[Case]) -> list[tuple[Finding, ...] | None]:
        """The findings of each picture out of what was made; None where nothing was measured."""
        return [
            _findings(row, case.modality) if case.modality in self.modalities else None
            for row, case in zip(rows.tolist(), cases, strict=True)
        ]


def _findings(row: Sequence[float], modality: str) -> tuple[Finding, ...]:
    found = []
    for number, kind in enumerate(KINDS[modality]):
        there, side, size, count = row[4 * number : 4 * number + 4]
        if there:
            size_mm = None if size < 0 else round(size, 1)
            found.append(Finding(kind=kind, side=SIDES[int(side)], size_mm=size_mm, count=int(count)))
    return tuple(found)


OwnReading = JudgeReading | WitnessReading | ReaderReading
