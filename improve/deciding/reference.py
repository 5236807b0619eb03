"""Parts of a loop's material as one dataset folder, for what reads dataset folders."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from vesalius.data.record import write_dataset
from vesalius.improve.material import Member


def write_parts(folder: Path, parts: Mapping[str, Sequence[Member]], *, links: bool = True) -> Path:
    """A dataset whose splits are these records; returns its folder. What is whole already is left as it is.

    No image is opened. links: symbolic ones, which lead out of the folder; else the files are there themselves, as
    second names where the disk allows that, or as copies. Masks stay where they are.
    """
    if (folder / "manifest.json").is_file():
        return folder
    records = []
    for split, members in parts.items():
        for number, (source, record) in enumerate(members):
            name = f"{split}/images/{number:06d}-{record.file_name.replace('/', '-')}"
            path, origin = folder / name, (source / record.file_name).resolve()
            path.parent.mkdir(parents=True, exist_ok=True)
            if links and not path.is_symlink():
                path.symlink_to(origin)
            elif not links:
                path.unlink(missing_ok=True)  # of a killed run
                try:
                    os.link(origin, path)
                except OSError:
                    shutil.copyfile(origin, path)
            records.append(dataclasses.replace(record, file_name=name, mask=None, split=split))
    write_dataset(folder, records)
    return folder
