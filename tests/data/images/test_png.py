from __future__ import annotations

from io import BytesIO

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from vesalius.data.images.png import encode_png

shapes = st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3]))


@given(arrays(np.uint8, shapes), st.dictionaries(st.sampled_from(["vesalius", "Comment"]), st.text(max_size=30)))
def test_pillow_reads_the_same_pixels_and_texts(image: np.ndarray, texts: dict[str, str]) -> None:
    texts = {key: "".join(c for c in text if c != "\0" and c.isprintable()) for key, text in texts.items()}
    with Image.open(BytesIO(encode_png(image, texts)), formats=("PNG",)) as opened:
        opened.load()
        assert opened.mode == ("L" if image.shape[2] == 1 else "RGB")
        assert np.array_equal(np.asarray(opened).reshape(image.shape), image)
        assert dict(opened.text) == texts  # type: ignore[attr-defined]


@given(arrays(np.uint16, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(1))))
def test_pillow_reads_the_same_16_bits(image: np.ndarray) -> None:
    with Image.open(BytesIO(encode_png(image)), formats=("PNG",)) as opened:
        assert opened.mode == "I;16"
        assert np.array_equal(np.asarray(opened), image[..., 0])
