"""Coverage-guided fuzzing of the DICOM reader.

    python tests/data/dicom/fuzz_dicom.py -max_total_time=60 [CORPUS_FOLDER]

It begins with the small files that pydicom brings along, unless a folder of others is given. It needs atheris
(`pip install "vesalius[fuzz]"`), and stops at the first input that is neither a picture nor a ValueError, or that takes
more than 20 s or 2 GB.
"""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pydicom", "vesalius"]):
    from pydicom.data import get_testdata_files

    from vesalius.data.images.encode import encode
    from vesalius.data.modality import MODALITIES
    from vesalius.data.sources.draft import Draft
    from vesalius.data.sources.reading import Reading
    from vesalius.data.sources.walk import drafts

PATH = Path(tempfile.mkdtemp()) / "a.dcm"
LONGEST = 60_000
"""Bytes of an input at most."""


def read(content: bytes) -> None:
    PATH.write_bytes(content)
    try:
        for each in drafts(PATH, Reading(modality=MODALITIES["CT"], slices="middle")):
            if isinstance(each, Draft):
                encode(each)
    except ValueError:
        pass


def corpus(folder: Path) -> str:
    folder.mkdir()
    for path in map(Path, get_testdata_files("*.dcm")):
        if path.stat().st_size <= LONGEST:
            shutil.copy(path, folder)
    return str(folder)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    arguments = sys.argv[1:]
    if all(a.startswith("-") for a in arguments):
        arguments.append(corpus(PATH.parent / "corpus"))
    atheris.Setup([sys.argv[0], "-timeout=20", "-rss_limit_mb=2048", f"-max_len={LONGEST}", *arguments], read)
    atheris.Fuzz()
