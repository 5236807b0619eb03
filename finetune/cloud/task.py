"""A recipe -> a task file for rented GPUs, which SkyPilot or dstack starts and starts again.

The line in it is that of `vesalius finetune`, whose run folder lies where a machine that is taken away does not take
it: in a bucket (SkyPilot), or on a network volume (dstack). Names of keys are those of SkyPilot 0.14
(sky/utils/schemas.py) and dstack 0.22 (its models TaskConfiguration and ProfileParams).
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from vesalius.data.command.recipe import read_recipe_file
from vesalius.data.record import write_atomic
from vesalius.finetune.cloud.config import GPUS, CloudConfig, is_url
from vesalius.finetune.config import FinetuneConfig

RUNS = "/runs"
"""Where the bucket or the volume is on the rented machine."""
VOLUME = "vesalius-runs"
PYTHON = "$HOME/vesalius-env"
IDLE = 3
"""Tries without a new checkpoint after which a run gives up, for each of them is paid."""


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A task file: its text, whether it was there already, and the line that starts it."""

    out: Path
    """the file"""
    start: str
    """the line that starts the task"""
    text: str
    unchanged: bool
    """the file was there already"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder that a run reads: where it comes from, and its path on the rented machine."""

    source: str
    path: str


def render_task(config: CloudConfig) -> Rendered:
    """Write the task file of a recipe. ValueError for what would only be refused on the rented machine, and where
    `out` holds something else."""
    config.check()
    values, data, base = read_run(config)
    task = (skypilot if config.to == "skypilot" else dstack)(config, values, data, base)
    start = f"sky jobs launch {config.out}" if config.to == "skypilot" else f"dstack apply -f {config.out}"
    text = f"# Made by: {shlex.join(['vesalius', 'cloud', 'render', *words(config)])}\n# Start: {start}\n"
    if config.to == "dstack":
        text += f"# The volume {config.volume or VOLUME} has to be there first (type: volume).\n"
    text += yaml.dump(task, Dumper=Readable, sort_keys=False, width=1000, allow_unicode=True)
    unchanged = False
    if config.out.exists():
        unchanged = config.out.is_file() and config.out.read_bytes() == text.encode()
        if not unchanged:
            raise ValueError(f"{config.out}: is there already and holds something else; give another --out")
    elif not config.dry_run:
        config.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(config.out, text.encode())
    return Rendered(out=config.out, start=start, text=text, unchanged=unchanged)


def read_run(config: CloudConfig) -> tuple[dict[str, Any], list[Place], Place | None]:
    """The fields that the rented line gives, with the paths of the rented machine; the datasets; the base, if it is a
    folder here. ValueError as the run itself would raise it, only before anything is paid."""
    values = read_recipe_file(config.recipe, FinetuneConfig)
    told = config.data or tuple(re.sub(r"^(s3|gs):/(?!/)", r"\1://", str(p)) for p in values.get("data", ()))
    if not told:
        raise ValueError(f"{config.recipe}: names no data; give --data DIR, s3://BUCKET/DIR or gs://BUCKET/DIR")
    data = place_all(config, told, "--data")
    base, named = None, str(values.get("base", "nano"))
    hub = named == "nano" or (named.count("/") == 1 and not named.startswith((".", "/", "~")))
    if named != "nano" and (not hub or Path(named).is_dir()):
        (base,) = place_all(config, (named,), "base")
        values["base"] = base.path
    if values.get("pairs"):
        raise ValueError(f"{config.recipe}: pairs are files here, which the rented machine lacks; tune to them here")
    if values.get("resume") == "never":
        raise ValueError(f"{config.recipe}: resume is 'never', but a machine may be taken away; leave it out")
    if values.get("device") == "cpu":
        raise ValueError(f"{config.recipe}: device is 'cpu', but GPUs are rented; leave it out")
    if values.get("dry_run"):
        raise ValueError(f"{config.recipe}: dry_run would rent a GPU and train nothing; leave it out")
    values = {**values, "data": tuple(place.path for place in data), "out": f"{RUNS}/{run_name(config)}"}
    run = FinetuneConfig(**{**values, "out": Path(values["out"]), "data": tuple(map(Path, values["data"]))})
    run.check()
    _, count = config.gpus()
    if run.batch_size % count:
        raise ValueError(
            f"{config.recipe}: batch_size {run.batch_size} does not divide among {count} GPUs; give a multiple"
        )
    return values, data, base


def place_all(config: CloudConfig, sources: tuple[str, ...], what: str) -> list[Place]:
    """Where folders are put on the rented machine, each under a name of its own."""
    placed: list[Place] = []
    top = f"{RUNS}/data" if config.to == "dstack" else "/data"
    if what == "base":
        top = "/base"
    for source in sources:
        if source.startswith(f"{RUNS}/"):  # lies in the bucket or on the volume already
            placed.append(Place(source=source, path=source))
            continue
        if "://" in source and not is_url(source):
            raise ValueError(f"{what} '{source}': expected a folder, s3://BUCKET/DIR or gs://BUCKET/DIR")
        if not is_url(source):
            if not Path(source).expanduser().is_dir():
                raise ValueError(f"{what} '{source}': no such folder here, and not in {RUNS}/ of the rented machine")
            if config.to == "dstack":
                raise ValueError(
                    f"{what} '{source}': dstack uploads 2 MB at most; put it into a bucket (s3://, gs://), or onto the "
                    f"volume and give its path there ({RUNS}/...)"
                )
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", source.rstrip("/").rpartition("/")[2]).strip(".") or "data"
        taken = {place.path for place in placed}
        path = next(p for n in range(len(sources)) if (p := f"{top}/{name}{f'-{n + 1}' if n else ''}") not in taken)
        placed.append(Place(source=source.rstrip("/"), path=path))
    return placed


def skypilot(config: CloudConfig, values: dict[str, Any], data: list[Place], base: Place | None) -> dict[str, Any]:
    """The task as SkyPilot's YAML has it."""
    name, count = config.gpus()
    mounts: dict[str, Any] = {
        place.path: {"source": place.source, "mode": "COPY"} if is_url(place.source) else place.source
        for place in [*data, *([base] if base else [])]
        if place.source != place.path
    }
    # MOUNT_CACHED alone lets files grow and folders be renamed, as the log and the checkpoints of a run need
    mounts[RUNS] = {"source": str(config.bucket).rstrip("/"), "mode": "MOUNT_CACHED"}
    resources: dict[str, Any] = {"accelerators": f"{GPUS[name][0]}:{count}", "use_spot": config.spot}
    if config.max_price is not None:
        resources["max_hourly_cost"] = config.max_price
    # What SIGTERM stopped goes on elsewhere, as what a lost machine stopped; a fault of the run is not paid twice
    resources["job_recovery"] = {"recover_on_exit_codes": [75]}
    local = Path(config.package).is_dir()
    return {
        "name": f"vesalius-{run_name(config)}",
        **({"workdir": config.package} if local else {}),
        "resources": resources,
        "file_mounts": mounts,
        "setup": setup(config),
        "run": run_script(values, count),
    }


def dstack(config: CloudConfig, values: dict[str, Any], data: list[Place], base: Place | None) -> dict[str, Any]:
    """The task as dstack's YAML has it."""
    assert base is None or base.source == base.path, "a base that is a folder here is refused as data is"
    name, count = config.gpus()
    fetched = [place for place in data if is_url(place.source)]
    environment = []
    if any(place.source.startswith("s3://") for place in fetched):
        environment += ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"]
    if any(place.source.startswith("gs://") for place in fetched):
        environment.append("RCLONE_GCS_SERVICE_ACCOUNT_CREDENTIALS")
    task: dict[str, Any] = {"type": "task", "name": f"vesalius-{run_name(config)}"}
    if Path(config.package).is_dir():  # dstack reads paths from where the file lies
        task["repos"] = [os.path.relpath(config.package, config.out.parent)]
    if environment:
        task["env"] = environment
    commands = setup(config).splitlines()
    if fetched:
        commands.append("apt-get update -qq && apt-get install -y -qq rclone")
    commands += [f"rclone copy {remote(place.source)} {shlex.quote(place.path)}" for place in fetched]
    # dstack joins commands by &&, and only braces make one command of the lines of a script
    task["commands"] = [*commands, f"{{\n{run_script(values, count)}}}\n"]
    task["resources"] = {"gpu": f"{GPUS[name][1]}:{count}"}
    task["volumes"] = [{"name": config.volume or VOLUME, "path": RUNS}]
    task["spot_policy"] = "spot" if config.spot else "on-demand"
    if config.max_price is not None:
        task["max_price"] = config.max_price
    task["retry"] = {"on_events": ["no-capacity", "interruption"], "duration": "3d"}
    return task


def remote(url: str) -> str:
    """A bucket's folder in the words of rclone, with the keys of the environment."""
    store, _, path = url.partition("://")
    if store == "gs":
        return shlex.quote(f":gcs:{path}")
    return f'":s3,provider=AWS,env_auth,region=$AWS_REGION:{path}"'


def setup(config: CloudConfig) -> str:
    """Commands that install the package into an environment of its own; done again they change nothing.

    uv brings Python 3.11, which the images of clouds do not always have.
    """
    package, limits = shlex.quote(config.package), ""
    if Path(config.package).is_dir():
        package = "."
        limits = "-c constraints.txt " if (Path(config.package) / "constraints.txt").is_file() else ""
    return (
        'export PATH="$HOME/.local/bin:$PATH"\n'
        "if ! command -v uv >/dev/null; then curl -LsSf https://astral.sh/uv/install.sh | sh; fi\n"
        f'uv venv --quiet --allow-existing --python 3.11 "{PYTHON}"\n'
        f'uv pip install --quiet --python "{PYTHON}/bin/python" {limits}{package}\n'
    )


def run_script(values: dict[str, Any], count: int) -> str:
    """The line of the run in a loop of POSIX shell: again where it was stopped, and not where it failed.

    SIGTERM to the script, the notice of a machine that is taken away, is passed on, and ends it with 75 instead.
    """
    out = shlex.quote(str(values["out"]))
    line = "vesalius finetune"
    failed = '[ "$code" -eq 75 ] || exit "$code"'
    if count > 1:
        line = (
            f"accelerate launch --multi_gpu --num_processes {count} --num_machines 1 --mixed_precision no "
            "--dynamo_backend no -m vesalius.cli.main finetune"
        )
        # The launcher ends with 1 however its processes ended; those that were stopped have left a checkpoint.
        failed = '[ "$code" -eq 75 ] || [ "$(newest)" != "$before" ] || exit "$code"'
    joined = " \\\n    ".join(flags(values))
    offline = "export HF_HUB_OFFLINE=1\n" if values.get("base", "nano") == "nano" else ""
    return (
        f'export PATH="{PYTHON}/bin:$PATH"\n'
        f"{offline}"
        'trap \'kill -TERM "$child" 2>/dev/null; wait "$child"; exit 75\' TERM\n'
        f"newest() {{ ls {out}/checkpoints 2>/dev/null | tail -n 1; }}\n"
        "idle=0\n"
        f'while [ "$idle" -lt {IDLE} ]; do\n'
        "  before=$(newest)\n"
        f"  {line} \\\n    {joined} &\n"
        "  child=$!\n"
        '  wait "$child"\n'
        "  code=$?\n"
        '  [ "$code" -ne 0 ] || exit 0\n'
        f"  {failed}\n"
        '  if [ "$(newest)" = "$before" ]; then idle=$((idle + 1)); else idle=0; fi\n'
        "  sleep 5\n"
        "done\n"
        f"echo 'stopped {IDLE} times without a new checkpoint' >&2\n"
        "exit 1\n"
    )


def flags(values: dict[str, Any]) -> list[str]:
    """Fields of a stage as the flags of its command line with their values, quoted for a shell."""
    lines = []
    for name, value in values.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            lines.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, tuple):
            lines += [shlex.join([flag, *map(str, value)])] if value else []
        else:
            lines.append(shlex.join([flag, str(value)]))
    return lines


def words(config: CloudConfig) -> list[str]:
    """The words of `vesalius cloud render` that say a configuration, without how it is told."""
    said = [str(config.recipe)]
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in ("recipe", "json", "dry_run") or (field.default is not MISSING and value == field.default):
            continue
        flag = "--" + field.name.replace("_", "-")
        if isinstance(value, bool):
            said.append(flag if value else f"--no-{flag[2:]}")
        else:
            said += [flag, *(map(str, value) if isinstance(value, tuple) else [str(value)])]
    return said


def run_name(config: CloudConfig) -> str:
    """The name of a run: its recipe's, as both tools allow names (dstack: 41 characters, beginning with a letter)."""
    return re.sub(r"[^a-z0-9]+", "-", config.recipe.stem.lower()).strip("-")[:30].strip("-") or "run"


class Readable(yaml.SafeDumper):  # type: ignore[misc]
    """YAML whose texts of several lines stay several lines."""


Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)
