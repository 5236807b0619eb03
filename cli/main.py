"""`vesalius`: one command, one verb per stage, built from the same dataclasses as the Python interface.

Exit codes: 0 done, 2 usage or bad input, 3 a check found problems, 4 partly done, 75 stopped but the same line
continues.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vesalius.data.command.ending import CHECK as CHECK
from vesalius.data.command.ending import DONE as DONE
from vesalius.data.command.ending import PARTIAL as PARTIAL
from vesalius.data.command.ending import RESUMABLE as RESUMABLE
from vesalius.data.command.ending import USAGE as USAGE
from vesalius.data.command.ending import Stopped as Stopped
from vesalius.data.command.ending import ended, fail, heed_signals
from vesalius.data.command.flags import asks_for_help, help_text, without_none


class Verb(NamedTuple):
    """A verb: its words, one line of help, and where its configuration and its function are (imported when used)."""

    words: str
    help: str
    config: str
    run: str


VERBS = (
    Verb(
        "doctor", "what this machine has, and what Vesalius will use of it",
        "cli.doctor:DoctorConfig", "cli.doctor:doctor",
    ),
    Verb(
        "data build", "DICOM, CSV tables, image folders -> one checked dataset folder",
        "data.building.config:BuildConfig", "cli.report:build",
    ),
    Verb(
        "data check", "whether a dataset folder is what it says",
        "data.check.run:CheckConfig", "cli.report:check",
    ),
    Verb(
        "data filter", "the part of a dataset that one asks for, as a dataset of its own",
        "data.datasets.filter:FilterConfig", "cli.report:filter_records",
    ),
    Verb(
        "data export", "a dataset as Parquet or WebDataset shards, which training takes as they stand",
        "data.datasets.shards:ExportConfig", "cli.report:export",
    ),
    Verb(
        "data merge", "several datasets as one, every patient in one split",
        "data.datasets.merge:MergeConfig", "cli.report:merge",
    ),
    Verb(
        "data sample", "a smaller dataset, with equal shares of the values of a field",
        "data.datasets.sample:SampleConfig", "cli.report:sample",
    ),
    Verb(
        "data phantom", "digital reference objects with reports and masks",
        "data.phantoms.config:PhantomConfig", "cli.report:phantom",
    ),
    Verb(
        "finetune", "images and their reports -> a LoRA adapter",
        "finetune.config:FinetuneConfig", "cli.report:finetune",
    ),
    Verb(
        "cloud render", "a recipe -> a task file with which SkyPilot or dstack rents GPUs",
        "finetune.cloud.config:CloudConfig", "cli.report:cloud_render",
    ),
    Verb(
        "plan", "what a fine-tuning run will need: memory, hours, money, before anyone pays",
        "finetune.planning.config:PlanConfig", "cli.plan:plan",
    ),
    Verb(
        "runs", "the fine-tuning runs below a folder, and how far each is",
        "finetune.running.runs:RunsConfig", "cli.runs:runs",
    ),
    Verb(
        "generate", "prompts -> images with their recipes",
        "inference.config:GenerateConfig", "cli.report:generate",
    ),
    Verb(
        "augment", "a dataset with synthetic training records, more of what is rare",
        "inference.augmentation.config:AugmentConfig", "cli.report:augment",
    ),
    Verb(
        "eval", "how faithful, obedient and novel a samples folder is",
        "eval.config:EvalConfig", "cli.report:evaluate",
    ),
    Verb(
        "explain", "which region answered which word, and which one spoke for which finding",
        "eval.explanations.config:ExplainConfig", "cli.explain:explain",
    ),
    Verb(
        "readers make", "real and synthetic images, blinded and shuffled, as a page for readers",
        "eval.readers.config:ReadersMakeConfig", "cli.readers:make",
    ),
    Verb(
        "readers score", "readers' answers against the key: accuracy, agreement, calibration",
        "eval.readers.config:ReadersScoreConfig", "cli.readers:score",
    ),
    Verb(
        "compare", "pictures beside those that they should be: PSNR, SSIM, MS-SSIM, noise, intensities, stain",
        "eval.pixels.config:CompareConfig", "cli.report:compare",
    ),
    Verb(
        "usefulness", "whether samples help to train a classifier, over real images alone",
        "eval.usefulness.config:UsefulnessConfig", "cli.usefulness:usefulness",
    ),
    Verb(
        "adapter export", "an adapter as one file for diffusers, ComfyUI or AUTOMATIC1111",
        "models.adapters.config:AdapterExportConfig", "cli.adapters:export",
    ),
    Verb(
        "adapter check", "whether an adapter does in plain diffusers what it does here",
        "models.adapters.config:AdapterCheckConfig", "cli.adapters:check",
    ),
    Verb(
        "adapter merge", "several adapters of one base as one, each with its weight",
        "models.adapters.config:AdapterMergeConfig", "cli.adapters:merge",
    ),
    Verb(
        "adapter fuse", "a copy of a base with an adapter in its weights",
        "models.adapters.config:AdapterFuseConfig", "cli.adapters:fuse",
    ),
    Verb(
        "improve run", "rounds of generate, score, gate, add back, fine-tune",
        "improve.config:ImproveConfig", "cli.report:improve",
    ),
    Verb(
        "improve status", "where a loop stands",
        "improve.config:StatusConfig", "cli.report:status",
    ),
    Verb(
        "improve show", "one round of a loop: prompts, refusals by reason, decision in words",
        "improve.config:ShowConfig", "cli.improve:show",
    ),
    Verb(
        "improve approve", "let the samples of a round that waits for review into the training data",
        "improve.config:ApproveConfig", "cli.improve:approve",
    ),
    Verb(
        "improve rollback", "stand by an earlier round of a loop again",
        "improve.config:RollbackConfig", "cli.improve:rollback",
    ),
    Verb(
        "improve resume", "continue a loop by its folder alone",
        "improve.config:ResumeConfig", "cli.improve:resume",
    ),
    Verb(
        "demo", "the browser application",
        "demo.config:DemoConfig", "demo.server:launch",
    ),
    Verb(
        "serve", "images over HTTP, in the words of OpenAI's images API",
        "inference.service.config:ServeConfig", "cli.serve:serve",
    ),
)  # fmt: skip
RECIPES = ("finetune", "plan", "improve run")  # verbs whose first word may be a TOML file


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    verb, rest = find_verb(words)
    if verb is None:
        return usage(words)

    def run() -> int:
        config = parse(verb, rest)  # before what the verb needs is imported: --help waits for nothing
        if hasattr(config, "check"):  # and so does the news that a number cannot be
            config.check()
        outcome = load(verb.run)(config)
        return outcome if isinstance(outcome, int) else DONE

    return ended(run)


def find_verb(words: list[str]) -> tuple[Verb | None, list[str]]:
    for verb in VERBS:
        parts = verb.words.split()
        if words[: len(parts)] == parts:
            return verb, words[len(parts) :]
    return None, words


def parse(verb: Verb, words: list[str]) -> Any:
    """The configuration that a verb's words say: a recipe file first where one is given, flags over it. `--help` is
    told here, and ends the process."""
    import tyro

    kind: type[Any] = load(verb.config)
    values: dict[str, Any] = {}
    if verb.words in RECIPES and words and words[0].endswith(".toml"):
        from vesalius.data.command.recipe import read_recipe_file

        values = read_recipe_file(Path(words[0]), kind)
        words = words[1:]
    required = {
        f.name: tyro.MISSING
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    called = f"vesalius {verb.words}{' [RECIPE.toml]' if verb.words in RECIPES else ''}"
    settled = kind(**{**required, **values})
    if asks_for_help(words):
        print(help_text(called, kind, settled))
        sys.exit(DONE)
    return tyro.cli(kind, args=without_none(words, kind), prog=called, description=kind.__doc__, default=settled)


def load(place: str) -> Any:
    """What `module:name` names, its module imported now."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"vesalius.{module}"), name)


def usage(words: list[str]) -> int:
    """Help for the whole command, or for a verb that is none."""
    if words and words[0] in ("--version", "-V"):
        from importlib.metadata import version

        print(f"vesalius {version('vesalius')}")
        return DONE
    asked = not words or words[0] in ("-h", "--help")
    group = [v for v in VERBS if words and v.words.startswith(f"{words[0]} ")]
    lines = [f"  vesalius {v.words:<16} {v.help}" for v in group or VERBS]
    text = "\n".join(
        ["usage: vesalius VERB [options]", "", *lines, "", "`vesalius VERB --help` tells a verb's options."]
    )
    if asked or (group and (len(words) == 1 or words[1] in ("-h", "--help"))):
        print(text)
        return DONE if words else USAGE
    import difflib

    near = difflib.get_close_matches(" ".join(words[:2]), [v.words for v in VERBS], n=1, cutoff=0.4)
    hint = f"; did you mean `vesalius {near[0]}`?" if near else ""
    return fail(f"'{' '.join(words[:2])}' is no verb{hint}\n{text}")


def print_json(value: Any) -> None:
    """One JSON object for machines."""
    row = dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
    print(json.dumps(row, default=str, ensure_ascii=False))


def entry() -> None:
    """The console script. SIGTERM, the notice of a machine that is taken away, ends a line as Ctrl-C does.

    The libraries make a million objects on import, all of which stay. The garbage collector would look through them
    again and again while they are made, which takes a second of the five before a first picture, and once more at the
    end, another second: it starts later, and leaves them alone at the end.
    """
    import gc

    heed_signals()
    gc.set_threshold(100_000, 50, 100)
    code = main()
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    entry()
