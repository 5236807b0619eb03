"""Pictures for reports: contact sheets and curves, as data that an HTML page holds in itself."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from vesalius.data.image import png_bytes, read_image

Points = tuple[Sequence[float], Sequence[float]]


def image_uri(path: Path) -> str:
    """A picture as a data: address. It is read and written anew, so no recipe or header travels into the page."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(read_image(path))).decode()


def curve_svg(curves: Mapping[str, Points], *, x: str, y: str, title: str) -> str:
    """Curves name -> (xs, ys) as an SVG string for a page."""
    return _svg(curves, x, y, title, kind="line")


def histogram_svg(values: Mapping[str, Sequence[float]], *, x: str, title: str) -> str:
    """Overlaid histograms name -> values as an SVG string for a page."""
    return _svg({k: (v, ()) for k, v in values.items()}, x, "share", title, kind="histogram")


def _svg(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]], x: str, y: str, title: str, *, kind: str
) -> str:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5.2, 3.0), layout="constrained")
    for name, (first, second) in series.items():
        if kind == "line":
            axes.plot(first, second, marker="o", markersize=3, label=name)
        elif len(first):
            axes.hist(first, bins=24, alpha=0.5, density=True, label=f"{name} (n={len(first)})")
    axes.set(xlabel=x, ylabel=y, title=title)
    if kind == "line":
        axes.ticklabel_format(axis="y", useOffset=False)
    axes.spines[["top", "right"]].set_visible(False)
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=8)
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    text = buffer.getvalue().decode()
    return text[text.index("<svg") :]
