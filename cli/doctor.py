"""`vesalius doctor`: what this machine has, and what Vesalius will use of it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.data.command.counted import counted

PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate", "datasets", "gradio", "pydicom", "xformers")


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """What this machine has, and what Vesalius will use of it."""

    json: bool = False
    """print one JSON object"""


def examine() -> dict[str, Any]:
    """Facts about the machine, the packages and the embedded models; `problems` lists what must be mended."""
    import torch

    from vesalius.models.base import base_folder, digest_folder
    from vesalius.models.computing.machine import has_bf16

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    problems = [
        f"{n} is missing: pip install vesalius" for n, v in versions.items() if v == "not installed" and n != "xformers"
    ]
    nano = base_folder("nano")
    if not (nano / "model_index.json").is_file():
        problems.append(f"the embedded base is missing at {nano}: install the package again")
    home = Path(os.environ.get("VESALIUS_HOME", Path.home() / ".cache" / "vesalius"))
    gpus = [
        f"{torch.cuda.get_device_name(i)}, {torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB"
        for i in range(torch.cuda.device_count())
    ]
    bf16 = has_bf16("cuda" if gpus else "cpu")
    return {
        "vesalius": importlib.metadata.version("vesalius"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "free_disk_gib": round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        "gpus": gpus or ["none: everything runs on the CPU"],
        "precision": "bf16 autocast" if bf16 else "fp32 (no bf16 in hardware)",
        "attention": "xformers available"
        if versions["xformers"] != "not installed"
        else "scaled-dot-product attention of torch",
        "offline": os.environ.get("HF_HUB_OFFLINE", "0") == "1",
        "home": str(home),
        "nano": digest_folder(nano)[:16] if nano.is_dir() else "missing",
        "packages": versions,
        "problems": problems,
    }


def doctor(config: DoctorConfig) -> int:
    """Print the facts; 3 where there are problems."""
    facts = examine()
    if config.json:
        print(json.dumps(facts))
    else:
        for name, value in facts.items():
            if name not in ("packages", "problems"):
                print(f"{name:<14} {', '.join(value) if isinstance(value, list) else value}")
        print(f"{'packages':<14} {', '.join(f'{n} {v}' for n, v in facts['packages'].items())}")
        for problem in facts["problems"]:
            print(f"problem: {problem}")
        print("all well" if not facts["problems"] else counted(len(facts["problems"]), "problem"))
    return 3 if facts["problems"] else 0
