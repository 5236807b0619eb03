"""DICOM files of many series -> the chosen slices of each, in the order of their position and not of their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vesalius.data.archive import Place
from vesalius.data.dicom import read_header
from vesalius.data.draft import Draft, Refused
from vesalius.data.pictures import from_file, pictures
from vesalius.data.reading import Reading
from vesalius.data.slices import pick


def series_drafts(places: Iterable[Place], reading: Reading) -> Iterator[Draft | Refused]:
    """Drafts of the chosen slices. A file with many frames is a series of its own.

    With "all" files are passed on as they come. Else the place of each slice is held until all are known, and the
    headers of the chosen are read again.
    """
    if reading.slices == "all":
        for place in places:
            yield from told(place, reading)
        return
    stacks: dict[tuple[Any, ...], list[tuple[float, int, Place]]] = {}
    for number, place in enumerate(places):
        try:
            header = read_header(place, names=reading.names, allow_burned_in=reading.allow_burned_in)
        except ValueError:
            yield from told(place, reading)
            continue
        if len(header.frames) > 1 or not header.stack[0]:
            yield from told(place, reading)
        else:
            stacks.setdefault(header.stack, []).append((header.position, number, place))
    for stack in stacks.values():
        stack.sort(key=lambda entry: entry[:2])
        for chosen in pick(len(stack), reading.slices):
            yield from told(stack[chosen][2], reading)


def told(place: Place, reading: Reading) -> Iterator[Draft | Refused]:
    """The drafts of one DICOM file, or why there are none."""
    draft = from_file(place, "dicom")
    try:
        yield from pictures(draft, reading)
    except ValueError as error:
        yield draft.refused(str(error))
