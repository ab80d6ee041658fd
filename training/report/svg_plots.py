"""Draws plots as SVG. Equal input gives equal bytes, and a page can embed them."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOR, OTHER_COLORS = "#2a6f97", ("#e07a5f", "#6a994e", "#8d6b94")


@contextmanager
def axes(width: float, height: float) -> Iterator[tuple[Axes, io.StringIO]]:
    """Yields axes to draw on, of a size in inches, and the stream that holds the SVG after the block."""
    svg = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(width, height), layout="constrained")
        axis = figure.add_subplot()
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#dddddd")
        axis.set_axisbelow(True)
        yield axis, svg
        page = io.StringIO()
        figure.savefig(page, format="svg", metadata={"Date": None})
    svg.write(page.getvalue()[page.getvalue().index("<svg") :])  # without the XML header
