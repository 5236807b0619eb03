"""Coverage-guided fuzzing of the DICOM reader: `python tests/data/fuzz_dicom.py -max_total_time=60 [CORPUS_FOLDER]`.

Needs atheris (`pip install "vesalius[fuzz]"`). It stops at the first input that is neither a picture nor a ValueError,
or that takes more than 20 s or 2 GB.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pydicom", "vesalius"]):
    from vesalius.data.draft import Draft
    from vesalius.data.encode import encode
    from vesalius.data.modality import MODALITIES
    from vesalius.data.reading import Reading
    from vesalius.data.sources import drafts

PATH = Path(tempfile.mkdtemp()) / "a.dcm"


def read(content: bytes) -> None:
    PATH.write_bytes(content)
    try:
        for each in drafts(PATH, Reading(modality=MODALITIES["CT"], slices="middle")):
            if isinstance(each, Draft):
                encode(each)
    except ValueError:
        pass


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    atheris.Setup([sys.argv[0], "-timeout=20", "-rss_limit_mb=2048", "-max_len=60000", *sys.argv[1:]], read)
    atheris.Fuzz()
