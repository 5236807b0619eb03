"""DICOM files of many series -> the chosen slices of each, in the order of their position and not of their names."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from vesalius.data.command.workers import FEW, Crashed, batches
from vesalius.data.dicom.frames import DicomHeader
from vesalius.data.sources.archive import Place
from vesalius.data.sources.draft import Draft, Refused
from vesalius.data.sources.pictures import dicom_header, from_file, pictures
from vesalius.data.sources.reading import Reading
from vesalius.data.sources.slices import pick

SERIAL = 2 * FEW
"""Files whose headers are read by this process, before workers begin."""
BATCH = 32
"""Headers that a worker reads at a time; one takes about a millisecond."""

Read = tuple[Place, DicomHeader | Exception]


def series_drafts(places: Iterable[Place], reading: Reading) -> Iterator[Draft | Refused]:
    """Drafts of the chosen slices. A file with many frames is a series of its own.

    With "all" files are passed on as they come. Else the place of each slice is held until all are known, and the
    headers of the chosen are read again.
    """
    if reading.slices == "all":
        for read in _headers(places, reading):
            yield from _drafts(read, reading)
        return
    stacks: dict[tuple[Any, ...], list[tuple[float, int, Place]]] = {}
    for number, (place, header) in enumerate(_headers(places, reading)):
        if isinstance(header, Exception) or len(header.frames) > 1 or not header.stack[0]:
            yield from _drafts((place, header), reading)
        else:
            stacks.setdefault(header.stack, []).append((header.position, number, place))
    for stack in stacks.values():
        stack.sort(key=lambda entry: entry[:2])
    chosen = (s[slice_][2] for s in stacks.values() for slice_ in pick(len(s), reading.slices))
    for read in _headers(chosen, reading):
        yield from _drafts(read, reading)


def _headers(places: Iterable[Place], reading: Reading) -> Iterator[Read]:
    """The header of each place, or what was wrong with it, in their order; of many, read by the workers.

    Where the names are to be remembered, this process reads them all.
    """
    how = (reading.names, reading.allow_burned_in)
    workers = None if reading.names.kept else reading.workers
    places = iter(places)
    for place in places if workers is None else itertools.islice(places, SERIAL):
        try:
            yield place, dicom_header(place, *how)
        except ValueError as error:
            yield place, error
    if workers is None:
        return
    for batch, headers in workers.in_order(batches(places, BATCH), lambda b: workers.call(dicom_header, b, *how)):
        yield from zip(batch, headers, strict=True)


def _drafts(read: Read, reading: Reading) -> Iterator[Draft | Refused]:
    """The drafts of one DICOM file, or why there are none."""
    place, header = read
    draft = from_file(place, "dicom")
    if isinstance(header, Crashed):
        header = ValueError(f"{place}: reading its header crashed ({header}); the file is damaged, leave it out")
    try:
        if isinstance(header, Exception):
            raise header
        yield from pictures(draft, reading, header)
    except ValueError as error:
        yield draft.refused(str(error))
