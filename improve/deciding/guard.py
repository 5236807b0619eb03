"""What keeps a loop honest: the alarm for gamed gates, and a witness that is a stranger to the judge.

A loop that trains on what one network likes learns what that network likes (reward hacking). So another network, which
filters nothing, watches: where the gates' network likes samples more and the witness finds them worse, the gates are
being gamed, whatever else looks well.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from vesalius.improve.deciding.facts import Fact, Facts, difference, number
from vesalius.models.networks.origin import RANDOM, digest_weights

CREEPING = 0.8
"""Confidence of an interval, one-sided 90 %, for a trend over three rounds: all of them in order speak for it too."""
ALIKE = 0.5
"""Correlation of two weights of one shape beyond which one was initialised from the other; strangers have about 0."""
MIN_WEIGHTS = 1024
WITNESSED = ("distance", "coverage", "obedience")
"""Groups of facts that the witness, and the reader, measure."""


def alarm(rounds: Sequence[Facts]) -> str | None:
    """Why the gates seem to be gamed in the last of some rounds, or None. rounds: round 0 first, then each champion.

    Beyond the interval: the gates' network likes the samples more than in an earlier round, and the witness finds their
    distance, coverage or obedience worse. Or it creeps: over the last three rounds the one rose and the other worsened
    each time, and over both steps together beyond a one-sided 90 % interval.
    """
    *earlier, last = rounds
    for before in earlier:
        liked, former = last.by_name.get("gates"), before.by_name.get("gates")
        paired = last.paired == before.paired
        if liked is None or former is None or difference(liked, former, paired=paired).told != "better":
            continue
        for fact in last.of(*WITNESSED):  # type: ignore[arg-type]
            known = before.by_name.get(fact.name)
            if known is not None and difference(fact, known, paired=paired).told == "worse":
                return told(liked, former, fact, known, "")
    return creeping(rounds[-3:]) if len(rounds) >= 3 else None


def creeping(rounds: Sequence[Facts]) -> str | None:
    """The alarm of a trend over three rounds."""
    liked = [r.by_name.get("gates") for r in rounds]
    if any(f is None for f in liked) or not rises(liked):
        return None
    first, last = rounds[0], rounds[-1]
    for fact in last.of(*WITNESSED):  # type: ignore[arg-type]
        values = [r.by_name.get(fact.name) for r in rounds]
        if any(f is None for f in values) or not rises(list(reversed(values))):
            continue
        known, former = values[0], liked[0]
        assert known is not None
        assert former is not None
        change = difference(fact, known, paired=first.paired == last.paired, confidence=CREEPING)
        if change.told == "worse":
            return told(last.by_name["gates"], former, fact, known, " over three rounds, a little each time")
    return None


def rises(facts: Sequence[Fact | None]) -> bool:
    """Whether each is better than the one before."""
    signed = [(f.value if f.up else -f.value) for f in facts if f is not None]
    return all(b > a for a, b in pairwise(signed))


def told(liked: Fact, former: Fact, fact: Fact, known: Fact, how: str) -> str:
    return (
        f"the network of the gates likes the samples more ({number(former)}, now {number(liked)}) while they became "
        f"worse{how}: {fact.told}, {number(known)}, now {number(fact)}. The gates are being gamed: tighten or "
        "change them"
    )


def check_witness(judge: Path | None = None, witness: Path | None = None) -> None:
    """ValueError where the witness is no stranger to the judge: the same weights, initialised from them, or of the same
    training run. Folders of the two; None is the embedded one.

    By digests: of the weights, and those that training writes beside them (`init`: of the weights it began from, `run`:
    of the run). What has no such record is known by its weights: those of a network that began as another stay like it.
    """
    folders = {"judge": judge or embedded("judge"), "witness": witness or embedded("witness")}
    for name, folder in folders.items():
        if not (folder / "model.safetensors").is_file():
            raise ValueError(f"{folder}: no {name} there (config.json, model.safetensors)")
    where = f"the witness {folders['witness']}"
    training = "python -m vesalius.finetune.judges.witness"
    way_out = f"give a witness of its own training (`{training}`), or none for the embedded one"
    records = {name: record_of(folder) for name, folder in folders.items()}
    ours, theirs = records["witness"], records["judge"]
    if ours["weights"] == theirs["weights"]:
        raise ValueError(f"{where} is the judge itself (digest {ours['weights'][:12]}); {way_out}")
    for one, other, words in ((ours, theirs, "initialised from the judge"), (theirs, ours, "what the judge began as")):
        if one.get("init", RANDOM) != RANDOM and one["init"] in (other["weights"], other.get("init")):
            raise ValueError(f"{where} is {words} (digest {one['init'][:12]}); {way_out}")
    if ours.get("run") and ours["run"] == theirs.get("run"):
        raise ValueError(f"{where} comes out of the judge's training run ({ours['run'][:12]}); {way_out}")
    same = alike(folders["judge"], folders["witness"])
    if same is not None:
        raise ValueError(f"{where} was initialised from the judge, or the judge from it: {same}; {way_out}")


def embedded(name: str) -> Path:
    return Path(str(importlib.resources.files("vesalius.models"))) / name


def record_of(folder: Path) -> dict[str, str]:
    """What the weights say of their making: `init` and `run` where they do; `weights`, the digest of the tensors."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="pt") as file:
        told = dict(file.metadata() or {})
    return {**told, "weights": digest_weights(folder / "model.safetensors")}


def alike(judge: Path, witness: Path) -> str | None:
    """The first weights of one shape that are far more alike than those of strangers, in words; None where there are
    none. Compared are matrices and kernels of 1024 numbers or more, whatever their names."""
    from safetensors.torch import load_file

    mine = large(load_file(judge / "model.safetensors"))
    for name, tensor in large(load_file(witness / "model.safetensors")).items():
        for other, theirs in mine.items():
            if tensor.shape == theirs.shape:
                correlation = float((unit(tensor) * unit(theirs)).sum())
                if abs(correlation) > ALIKE:
                    return f"its {name} is the judge's {other} (correlation {correlation:.2f})"
    return None


def large(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in tensors.items() if v.ndim > 1 and v.numel() >= MIN_WEIGHTS}


def unit(tensor: Any) -> Any:
    centred = tensor.double() - tensor.double().mean()
    return centred / centred.norm().clamp_min(1e-12)
