"""Copies: the training image nearest to each sample, against a limit that real images set which no training saw.

    found = find_copies(samples, held_out, train)

A distance has no meaning by itself, so each modality has a limit of its own: the 1st percentile of the distances from
held-out real images to the training images (those of the same patient are passed over). Everything here is a pure
function of features: a network's are compared as they are, pictures by the gates' own search (`copies`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch

from vesalius.eval.fidelity.metrics import share, share_with_bound
from vesalius.eval.privacy.copies import copy_distances
from vesalius.eval.privacy.nearest import nearest

PERCENTILE = 1.0
"""Of the distances of unseen real images; a perfect generator has so many percent of its samples below it."""
MIN_HELD_OUT = 20
"""Held-out images of a modality below which no limit is set."""
ENOUGH = 100
"""Held-out images from which on the limit is a percentile, and not between the two nearest of them."""
CLOSE = 0.5
"""Share of the limit below which a sample is called close: there lies next to nothing real."""
SAME = 1e-3
"""Share of the median distance below which a held-out image is one of the training images, and sets no limit."""
MOST_HIGH = 0.02
"""Upper bound of the share of copies up to which a set is said to hold no more of them than unseen real images; 149
samples without any have it."""
LEAKY = 0.25
"""Share of the median distance of unseen real images below which their limit tells of a leak between the splits."""
NUM_PAIRS = 8
PIXELS = "pixels"
"""The detector that is no network: pictures laid over each other."""

Verdict = Literal["more than unseen real images", "no more than unseen real images", "no conclusion"]


@dataclass(frozen=True, kw_only=True)
class PictureSet:
    """What a search for copies sees of N pictures.

    features: by detector, float NC; by "pixels" what `Suspect` makes of pictures that are searched, and `Original` of
    those that are searched in. modalities: of each picture. patients: of each, None where not known; empty where none
    is. names: of each, for messages and reports.
    """

    features: Mapping[str, torch.Tensor]
    modalities: Sequence[str]
    patients: Sequence[str | None] = ()
    names: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.modalities)

    def at(self, places: Sequence[int]) -> PictureSet:
        """The pictures at some places."""
        return PictureSet(
            features={name: rows[list(places)] for name, rows in self.features.items()},
            modalities=[self.modalities[i] for i in places],
            patients=[self.patients[i] for i in places] if self.patients else (),
            names=[self.names[i] for i in places] if self.names else (),
        )

    def of(self, modality: str) -> tuple[PictureSet, list[int]]:
        """The pictures of a modality, and their places in the whole set."""
        places = [i for i, m in enumerate(self.modalities) if m == modality]
        return self.at(places), places


def find_copies(samples: PictureSet, held_out: PictureSet, train: PictureSet, *, seed: int = 0) -> dict[str, Any]:
    """Copies of training images among samples, near-duplicates, and the nearest pairs, as JSON.

    ValueError where the sets do not fit each other.

    copies: a row per modality and detector; near-duplicates likewise; verdicts: per modality, "no conclusion" where
    detectors disagree or the counts do not carry one; pairs: the samples nearest to a training image, in units of
    their limit, each with its detector, distance and limit.
    """
    for name, each in {"samples": samples, "held-out images": held_out, "training images": train}.items():
        check(name, each, samples)
    copies: list[dict[str, Any]] = []
    duplicates: list[dict[str, Any]] = []
    pairs: dict[int, dict[str, Any]] = {}
    for modality in sorted(set(samples.modalities)):
        (ours, places), (real, _), (seen, seen_places) = (s.of(modality) for s in (samples, held_out, train))
        for detector in samples.features:
            row: dict[str, Any] = {
                "modality": modality, "detector": detector,
                "num_samples": len(ours), "num_held_out": len(real), "num_train": len(seen),
            }  # fmt: skip
            limit: float | None = None
            if not len(seen):
                row["note"] = "no training images of it"
            elif len(real) < MIN_HELD_OUT:
                row["note"] = f"{len(real)} held-out real images, and a limit needs {MIN_HELD_OUT}"
            else:
                usual, limit = limit_of(real, seen, detector)
                row["num_same"] = len(real) - len(usual)
                if limit is None:
                    row["note"] = (
                        f"{row['num_same']} of {len(real)} held-out images are training images too, and a limit needs "
                        f"{MIN_HELD_OUT} others"
                    )
                else:
                    near, at = distances_of(ours, seen, detector)
                    row |= copy_row(near.numpy(), usual, limit)
                    for i, (distance, where) in enumerate(zip(near.tolist(), at.tolist(), strict=True)):
                        pair = {
                            "sample": places[i], "train": seen_places[where], "modality": modality,
                            "detector": detector, "distance": distance, "limit": limit,
                        }  # fmt: skip
                        if places[i] not in pairs or _closeness(pair) < _closeness(pairs[places[i]]):
                            pairs[places[i]] = pair
            copies.append(row)
            if limit is not None:
                duplicates.append(duplicate_row(modality, detector, ours, real, limit, seed))
    closest = sorted(pairs.values(), key=_closeness)[:NUM_PAIRS]
    for pair in closest:
        pair["names"] = [
            s.names[i] if s.names else str(i) for s, i in ((samples, pair["sample"]), (train, pair["train"]))
        ]
    return {
        "copies": copies,
        "near_duplicates": duplicates,
        "verdicts": {m: verdict([r for r in copies if r["modality"] == m]) for m in sorted(set(samples.modalities))},
        "pairs": closest,
    }


def check(name: str, pictures: PictureSet, like: PictureSet) -> None:
    """ValueError where features are not finite, or do not fit the names, modalities and detectors."""
    if not len(pictures):
        raise ValueError(f"the search for copies has no {name}; give at least one picture")
    if set(pictures.features) != set(like.features):
        raise ValueError(
            f"{name} have features by {', '.join(sorted(pictures.features))}, and the samples by "
            f"{', '.join(sorted(like.features))}; compute both by the same detectors"
        )
    for detector, rows in pictures.features.items():
        width = rows.shape[1] if detector == PIXELS else like.features[detector].shape[1]
        if rows.shape != (len(pictures), width):
            raise ValueError(
                f"{name}: features by {detector} are {tuple(rows.shape)}, expected {len(pictures)} rows of {width}; "
                "compute them anew, by the same detector"
            )
        if not torch.isfinite(rows).all():
            bad = int((~torch.isfinite(rows).all(1)).nonzero()[0])
            told = pictures.names[bad] if pictures.names else f"number {bad}"
            raise ValueError(f"{name}: features of {told} by {detector} are not finite; look at that image")
    for kind in ("patients", "names"):
        if (given := len(getattr(pictures, kind))) not in (0, len(pictures)):
            raise ValueError(f"{name}: {given} {kind} for {len(pictures)} images; give one for each, or none")


def distances_of(
    queries: PictureSet, references: PictureSet, detector: str, *, other_patients: bool = False, same: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Distance of each picture to its nearest reference by a detector, and that one's place. other_patients: those of
    the picture's own are passed over, where they are known. same: the two are one set."""
    search = copy_distances if detector == PIXELS else nearest
    known = other_patients and bool(queries.patients and references.patients)
    return search(
        queries.features[detector], references.features[detector],
        query_patients=queries.patients if known else (), reference_patients=references.patients if known else (),
        same=same,
    )  # fmt: skip


def limit_of(
    real: PictureSet, train: PictureSet, detector: str
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], float | None]:
    """Distances of held-out images to training images of other patients, and the limit that they set; None where they
    are too few. Those that are training images are left out.

    So a leak between splits (the same image twice) cannot lower the limit until nothing is called a copy.
    """
    distances, _ = distances_of(real, train, detector, other_patients=True)
    usual: np.ndarray[Any, np.dtype[np.float64]] = distances[torch.isfinite(distances)].double().numpy()
    usual = usual[usual > SAME * np.median(usual)] if len(usual) else usual
    return usual, float(np.percentile(usual, PERCENTILE)) if len(usual) >= MIN_HELD_OUT else None


def copy_row(
    near: np.ndarray[Any, np.dtype[np.float64]], usual: np.ndarray[Any, np.dtype[np.float64]], limit: float
) -> dict[str, Any]:
    """Shares below the limit of samples, and of unseen real images where each is judged by the limit of the others."""
    below = (near < limit).tolist()
    others = [float(np.percentile(np.delete(usual, i), PERCENTILE)) for i in np.argsort(usual)[: len(usual) // 10 + 2]]
    among = sorted(usual.tolist())[: len(others)]
    unseen = [x < other for x, other in zip(among, others, strict=True)] + [False] * (len(usual) - len(among))
    return {
        "limit": limit,
        "median": float(np.median(near)),
        "median_unseen": float(np.median(usual)),
        "copies": asdict(share(below)),
        "bound": share_with_bound(below).high,
        "unseen": asdict(share(unseen)),
        "close": asdict(share_with_bound((near < CLOSE * limit).tolist())),
        "close_unseen": asdict(share_with_bound((usual < CLOSE * limit).tolist())),
    }


def duplicate_row(
    modality: str, detector: str, samples: PictureSet, real: PictureSet, limit: float, seed: int
) -> dict[str, Any]:
    """Share of samples with another sample within the limit, beside that of real images with one of another patient.

    The larger a set, the nearer its nearest: both are counted in a random choice of as many of each.
    """
    num = min(len(samples), len(real))
    row: dict[str, Any] = {"modality": modality, "detector": detector, "limit": limit, "num": num}
    for name, each in (("samples", samples), ("real", real)):
        rng = np.random.default_rng([seed, len(each)])
        chosen = each.at(np.sort(rng.permutation(len(each))[:num]).tolist())
        distances, _ = distances_of(chosen, chosen, detector, other_patients=name == "real", same=True)
        row[name] = asdict(share((distances < limit).tolist()))
    return row


def verdict(rows: Sequence[Mapping[str, Any]]) -> Verdict:
    """What all detectors say of a modality together. One that says nothing, or otherwise, leaves no conclusion."""
    said = {_says(row) for row in rows}
    return said.pop() if len(said) == 1 else "no conclusion"


def _says(row: Mapping[str, Any]) -> Verdict:
    if "copies" not in row:
        return "no conclusion"
    if row["copies"]["low"] > max(PERCENTILE / 100, row["unseen"]["high"]):
        return "more than unseen real images"
    lone = row["close"]["value"] > row["close_unseen"]["value"]  # one copy of a patient is one too many
    return "no more than unseen real images" if row["bound"] <= MOST_HIGH and not lone else "no conclusion"


def _closeness(pair: Mapping[str, Any]) -> float:
    """The distance of a pair in units of its limit."""
    return float(pair["distance"] / max(pair["limit"], 1e-12))
