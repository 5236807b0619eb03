"""Do maps of findings lie on the findings? Measured on phantoms, whose lesions are known.

    python -m vesalius.eval.explanations.map_check --num 20

Of each kind of finding, phantoms with that one are drawn; `inside` is the share of a map's mass that lies on the
lesion, `chance` that of the same map shuffled, which is the lesion's share of the picture. `peak` is how often the map
is highest on the lesion, and `twin` how like it is to that of the same network with random weights (Spearman's rho).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from vesalius.data.command.progress import Progress
from vesalius.data.phantoms.phantom import KINDS, draw_phantom
from vesalius.data.record import Finding
from vesalius.eval.explanations.finding_maps import METHODS, Method, Network, gradcam, likeness, random_twin
from vesalius.eval.scorecard.obedience import as_seen
from vesalius.models.networks.judge import Judge
from vesalius.models.networks.witness import Witness


@dataclass(frozen=True, kw_only=True)
class MapCheckConfig:
    """Measure maps of findings on phantoms."""

    num: int = 20
    """phantoms of each kind of finding"""
    seed: int = 7_000_000
    """seed of the first phantom"""
    networks: tuple[str, ...] = field(default=("judge", "witness"))
    """judge, witness or both"""


def localise(network: Network, finding: str, *, method: Method, num: int, seed: int) -> dict[str, Any]:
    """How well maps of one finding lie on it, over `num` phantoms. ValueError where the network or phantoms lack it."""
    modality, _, kind = finding.partition("/")
    twin = random_twin(network)
    inside, chance, peaks, twins = [], [], [], []
    for each in range(num):
        phantom = draw_phantom(seed + each, modality, size=network.config.image_size, findings=(Finding(kind=kind),))
        lesion, image = phantom.mask > 0, torch.from_numpy(as_seen(phantom))
        heat = gradcam(network, image, finding, method=method)
        chance.append(float(lesion.mean()))
        inside.append(float((heat * lesion).sum() / heat.sum()) if heat.any() else chance[-1])
        peaks.append(bool(heat.any() and lesion[np.unravel_index(int(heat.argmax()), heat.shape)]))
        twins.append(likeness(heat, gradcam(twin, image, finding, method=method)))
    means = {
        n: float(np.mean(v)) for n, v in (("inside", inside), ("chance", chance), ("peak", peaks), ("twin", twins))
    }
    return {"finding": finding, "method": method, "num": num, **means}


def check_maps(config: MapCheckConfig) -> str:
    """A Markdown table over networks, methods and findings. ValueError where a setting cannot be."""
    if config.num < 1 or config.seed < 0 or not config.networks:
        raise ValueError("--num must be at least 1, --seed at least 0, and --networks not empty")
    loaders: dict[str, Any] = {"judge": Judge.load, "witness": Witness.load}
    for name in config.networks:
        if name not in loaders:
            raise ValueError(f"--networks '{name}' is not known; expected {', '.join(loaders)}")
    findings = [f"{modality}/{kind}" for modality, kinds in KINDS.items() for kind in kinds]
    lines = ["| network, method | finding | inside | chance | times chance | peak | twin |", f"|{'---|' * 7}"]
    with Progress("maps", len(config.networks) * len(METHODS) * len(findings)) as bar:
        for name in config.networks:
            network = loaders[name]()
            for method in METHODS:
                for finding in findings:
                    row = localise(network, finding, method=method, num=config.num, seed=config.seed)
                    cells = f"{row['inside']:.3f} | {row['chance']:.3f} | {row['inside'] / row['chance']:.1f}"
                    told = f"{cells} | {row['peak']:.0%} | {row['twin']:.2f}"
                    lines.append(f"| {name}, {method} | {finding} | {told} |")
                    bar.step()
    return "\n".join(lines)


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(MapCheckConfig, lambda config: print(check_maps(config)))
