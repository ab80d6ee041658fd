"""Plots as SVG: equal input gives equal bytes, and a page needs nothing else to show them."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOR, OTHER_COLORS = "#2a6f97", ("#e07a5f", "#6a994e", "#8d6b94")


@contextmanager
def axes(width: float, height: float) -> Iterator[tuple[Axes, io.StringIO]]:
    """Axes of so many inches to draw on, and the text that holds the SVG when the block has ended."""
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(width, height), layout="constrained")
        own = figure.add_subplot()
        own.spines[["top", "right"]].set_visible(False)
        own.grid(color="#dddddd")
        own.set_axisbelow(True)
        yield own, out
        whole = io.StringIO()
        figure.savefig(whole, format="svg", metadata={"Date": None})
    out.write(whole.getvalue()[whole.getvalue().index("<svg") :])
