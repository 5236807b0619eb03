"""An evaluation: a samples folder against real images, as one page, one JSON and one Markdown summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from vesalius.data.command.counted import counted
from vesalius.data.record import write_atomic, write_json
from vesalius.eval import summary
from vesalius.eval.config import EvalConfig
from vesalius.eval.context import Context, open_context, open_folders
from vesalius.eval.fidelity import part as fidelity
from vesalius.eval.gates import part as gates_part
from vesalius.eval.gates.scores import Case
from vesalius.eval.obedience import part as obedience_part
from vesalius.eval.obedience.questions import independent
from vesalius.eval.pixels import part as pixels_part
from vesalius.eval.privacy import membership_part
from vesalius.eval.privacy import part as privacy_part
from vesalius.eval.report import Section, to_markdown, write_page
from vesalius.eval.usefulness import part as usefulness_part
from vesalius.models.detectors.detector import Detector
from vesalius.models.detectors.source import Features

TITLE = "Evaluation of a synthetic set"


class Part(Protocol):
    """A module: what it measures (a JSON object), and what the page says of it."""

    def measure(self, context: Context) -> dict[str, Any]: ...

    def sections(self, result: Mapping[str, Any], context: Context) -> list[Section]: ...


PARTS: dict[str, Part] = {
    "fidelity": fidelity,
    "obedience": obedience_part,
    "privacy": privacy_part,
    "gates": gates_part,
    "pixels": pixels_part,
    "membership": membership_part,
    "usefulness": usefulness_part,
}
NEED_TRAIN = ("privacy", "gates", "membership")
"""Parts that look at training images."""


def evaluate(config: EvalConfig, detectors: Sequence[str | Detector | Features] | None = None) -> dict[str, Any]:
    """Run an evaluation and write report.html, report.json and report.md; returns what the JSON holds.

    detectors: in place of the configuration's, names or functions uint8 [N, 3, H, W] -> float [N, C]. ValueError where
    a folder is none, or where samples and real images share no modality.
    """
    independent(config.gated_by)
    folders = open_folders(config, PARTS, needs_train=bool(set(config.parts) & set(NEED_TRAIN)))
    if config.dry_run:
        counts = {"samples": len(folders.samples), "real": len(folders.real), "train": len(folders.train)}
        return {**counts, "left_out": len(folders.shared)}
    context = open_context(config, folders, detectors)
    result: dict[str, Any] = {
        "synthetic": True,
        "num_samples": len(context.samples.cases),
        "num_real": len(context.real.cases),
        "split": config.split,
        "seed": config.seed,
        "base_digest": context.drawn[0].base_digest,
        "adapter_digest": context.drawn[0].adapter_digest,
    }
    sections: list[Section] = []
    for name in config.parts:
        result[name] = PARTS[name].measure(context)
        sections += PARTS[name].sections(result[name], context)
    sections.insert(0, summary.section(result, context.modalities))
    result |= {"unreadable": context.unreadable, "left_out": len(folders.shared)}
    if folders.shared:
        sections.append(shared_section(folders.shared))
    if context.unreadable:
        sections.append(unreadable_section(context.unreadable))
    subtitle = (
        f"{counted(result['num_samples'], 'sample')} from {config.samples.resolve().name} against "
        f"{counted(result['num_real'], 'image')} "
        f"({config.split} split of {config.real.resolve().name})"
    )
    config.out.mkdir(parents=True, exist_ok=True)
    write_json(config.out / "report.json", result)
    write_atomic(config.out / "report.md", to_markdown(TITLE, f"{subtitle}. Not for diagnosis.", sections).encode())
    write_page(config.out / "report.html", TITLE, subtitle, sections)
    return result


def shared_section(cases: Sequence[Case]) -> Section:
    patients, counts = {c.patient for c in cases}, Counter(c.modality for c in cases)
    told = f"{len(patients)} patients are in the training images too, so their other images are compared with nothing: "
    title = f"Left out: {len(cases)} real images of patients who were trained on"
    return Section(title=title, text=[told + ", ".join(f"{n} of {m}" for m, n in counts.items()) + "."])


def unreadable_section(lines: Sequence[str]) -> Section:
    more = [f"and {len(lines) - 20} more, in report.json"] if len(lines) > 20 else []
    return Section(title=f"Left out: {len(lines)} images that do not open", text=[*lines[:20], *more])
