"""Is the loop worth it? Its arms, each a run of its own that resumes by the same line, and what they come to together.

    python -m vesalius.improve.proof.arms --arm loop --seed 0 --data DATA --out OUT/loop-0
    python -m vesalius.improve.proof.page --results OUT/*/result.json --out OUT/page

Arms, over the same data, base, steps a round and questions:

    loop        rounds of generate, score, gate, add back, train afresh, promote or roll back
    collapse    the same without gates, without real data in later rounds, and without the guard: what it protects from
    guarded     without gates and real data, but with the guard
    longer      no loop: its compute spent on more training steps
    repeated    no loop: as many real records repeated as the loop accepted samples

What a candidate costs is counted in steps of training: a step is forward and backward (three times a forward) of
`batch_size` images, a candidate `sampling_steps` forwards, two for each with guidance above 1.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vesalius.data.command.fields import Settled
from vesalius.data.record import load_records, write_json
from vesalius.improve.budget import spent
from vesalius.improve.candidates.candidates import read_verdicts
from vesalius.improve.config import Ablation, ImproveConfig
from vesalius.improve.deciding.facts import read_facts
from vesalius.improve.deciding.promotion import decisions_of
from vesalius.improve.deciding.reference import write_parts
from vesalius.improve.loop import improve

Arm = Literal["loop", "collapse", "guarded", "longer", "repeated"]
WITHOUT: dict[Arm, tuple[Ablation, ...]] = {
    "loop": (), "collapse": ("gates", "real", "guard"), "guarded": ("gates", "real"), "longer": (), "repeated": (),
}  # fmt: skip
LOOPS = ("loop", "collapse", "guarded")
FAST_STEPS = 4
"""Denoising steps of nano-fast, without guidance."""


@dataclass(frozen=True, kw_only=True)
class ProofConfig(Settled):
    """One arm of the proof, at one seed. The same line continues it."""

    arm: Arm
    """loop, collapse, guarded, longer or repeated"""
    data: tuple[Path, ...]
    """dataset folders, the same for all arms"""
    out: Path
    """folder of this arm and seed"""
    like: Path | None = None
    """of the arm repeated: result.json of the loop of the same seed, which says how many records are repeated"""
    rounds: int = 3
    """rounds after round 0"""
    num: int = 2000
    """candidates a round"""
    best_of: int = 4
    """candidates a prompt"""
    steps: int = 500
    """LoRA steps a round"""
    batch_size: int = 16
    """images a step"""
    num_eval: int = 240
    """samples by which a round is judged"""
    base: str = "nano"
    """base"""
    beside: tuple[str, ...] = ("nano-fast",)
    """adapters that a round's own is drawn with"""
    sampling_steps: int | None = None
    """denoising steps; none: what those adapters were made for"""
    seed: int = 0
    """seed of everything"""
    json: bool = False
    """print one JSON object instead of progress"""

    def loop(self) -> ImproveConfig:
        """The loop that this arm is; of `longer` and `repeated` its round 0 alone."""
        rounds, steps, data = self.rounds, self.steps, self.data
        if self.arm not in LOOPS:
            rounds = 0
        if self.arm == "longer":
            steps = self.all_steps
        if self.arm == "repeated":
            data = (*data, self.out / "repeated")
        return ImproveConfig(
            data=data, out=self.out / "loop", base=self.base, rounds=rounds, num=self.num, best_of=self.best_of,
            prompts=("captions", "phantoms"), aim="weak", quota=1.0, steps=steps, batch_size=self.batch_size,
            num_eval=self.num_eval, beside=self.beside, sampling_steps=self.sampling_steps,
            patience=self.rounds if self.arm == "collapse" else 2, without=WITHOUT[self.arm], search_text=False,
            seed=self.seed, json=self.json,
        )  # fmt: skip

    @property
    def all_steps(self) -> int:
        """Steps of training that cost what the loop does: its rounds, and its candidates."""
        forwards = self.num * (self.sampling_steps or FAST_STEPS)
        return self.steps + self.rounds * (self.steps + forwards // (3 * self.batch_size))


def run(config: ProofConfig) -> dict[str, Any]:
    """Run or continue an arm; returns and writes OUT/result.json."""
    if config.arm == "repeated":
        write_repeated(config)
    loop = config.loop()
    improve(loop)
    result = {
        "arm": config.arm, "seed": config.seed, "steps": loop.steps, "seconds": round(spent(loop.out)),
        "config": json.loads(json.dumps(dataclasses.asdict(config), default=str)), "rounds": rounds_of(loop.out),
    }  # fmt: skip
    for name in ("data", "out", "like"):  # of this machine alone
        del result["config"][name]
    write_json(config.out / "result.json", result)
    return result


def rounds_of(out: Path) -> list[dict[str, Any]]:
    """What each round of a loop came to: its facts, without their halves, and its decision."""
    found = []
    for decision in decisions_of(out):
        folder = out / f"round-{decision['round']:02d}"
        facts = read_facts(folder)
        verdicts = read_verdicts(folder)
        found.append(
            {
                "round": decision["round"], "promoted": decision["promoted"], "champion": decision["champion"],
                "alarm": decision.get("alarm"), "reasons": decision["reasons"], "asked": len(verdicts),
                "accepted": sum(v["reason"] is None for v in verdicts),
                "facts": {
                    f.name: {
                        k: v for k, v in dataclasses.asdict(f).items() if k not in ("halves", "name", "margin")
                    }
                    for f in facts.facts
                },
            }
        )  # fmt: skip
    return found


def write_repeated(config: ProofConfig) -> Path:
    """Training records at random, as many as the loop accepted samples, once more: a dataset of links."""
    folder = config.out / "repeated"
    if (folder / "manifest.json").is_file():
        return folder
    if config.like is None:
        raise ValueError("--arm repeated: give --like, the result.json of the loop of this seed")
    told = json.loads(config.like.read_text())
    if (told["arm"], told["seed"]) != ("loop", config.seed):
        raise ValueError(f"{config.like}: is of arm {told['arm']}, seed {told['seed']}; expected loop, {config.seed}")
    num = sum(row["accepted"] for row in told["rounds"] if row["round"] <= told["rounds"][-1]["champion"])
    members = [(f, r) for f in config.data for r in load_records(f) if r.split == "train"]
    order = np.random.default_rng([config.seed, 7]).permutation(len(members))
    return write_parts(folder, {"train": [members[order[i % len(order)]] for i in range(max(1, num))]})


def differences(results: Sequence[dict[str, Any]], name: str) -> dict[str, list[float]]:
    """Arm -> of each seed how much better a fact is at its end than in round 0 of the loop of that seed.

    Above 0 is better, whichever way the fact counts. The end of an arm is what it stands by; of `collapse` its last
    round.
    """
    first = {r["seed"]: r["rounds"][0] for r in results if r["arm"] == "loop"}
    found: dict[str, list[float]] = {}
    for result in sorted(results, key=lambda r: r["seed"]):
        before = first.get(result["seed"], {}).get("facts", {}).get(name)
        now = end_of(result)["facts"].get(name)
        if before is not None and now is not None:
            sign = 1 if now["up"] else -1
            found.setdefault(result["arm"], []).append(sign * (now["value"] - before["value"]))
    return found


def end_of(result: dict[str, Any]) -> dict[str, Any]:
    """The round that an arm ends with."""
    rounds: list[dict[str, Any]] = result["rounds"]
    return rounds[-1] if result["arm"] == "collapse" else rounds[rounds[-1]["champion"]]


def with_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean over seeds with its 95 % interval (Student's t); of one seed there is none, and both ends are infinite."""
    from scipy.stats import t

    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("-inf"), float("inf")
    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(ProofConfig, run)
