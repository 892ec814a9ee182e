"""Figures as SVG files that stand alone: with their own style, light or dark as the reader has it."""

import re
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

from medpref.files import write_text
from medpref.report.layout import make_layout
from medpref.report.load import read_run
from medpref.report.svg import Element, label, node
from medpref.report.why import WhyFigure, why_figures

_ACROSS = 3
_GAP, _HEAD, _CAPTION = 22.0, 30.0, 18.0
_OWN_STYLE = (
    "svg { color: var(--ink); } svg .title { font-size: 14px; font-weight: 600; } "
    "svg .caption { font-weight: 600; }"
)
_NAMESPACE = "http://www.w3.org/2000/svg"


def write_figures(run: Path, folder: Path) -> list[Path]:
    """Write the figures of a run, each to ``BACKBONE-KEY.svg``, and return their paths.

    Args:
        run: the folder of a study that has run to its end.
        folder: where to; made where it is missing.

    Raises:
        InputError: the run holds no results, or a log is broken; the message names the file.
        RunError: a file cannot be written.
    """
    read = read_run(run)
    written = []
    for figure in why_figures(read, make_layout(read.results, read.about)):
        path = folder / f"{_plain(figure.backbone)}-{_plain(figure.key)}.svg"
        write_text(path, standalone(figure))
        written.append(path)
    return written


def standalone(figure: WhyFigure) -> str:
    """Return a figure as the text of an SVG file."""
    drawings = [ElementTree.fromstring(str(panel.drawing)) for panel in figure.panels]
    sizes = [tuple(map(float, found.get("viewBox", "").split()[2:])) for found in drawings]
    wide, high = (max(size[axis] for size in sizes) for axis in (0, 1))
    high += _CAPTION
    across = min(_ACROSS, len(drawings))
    rows = -(-len(drawings) // across)
    width = across * (wide + _GAP) + _GAP
    height = _HEAD + rows * (high + _GAP)
    parts = [_style(), label((_GAP, 20), f"{figure.title} · {figure.backbone}", "title")]
    for number, (panel, found, size) in enumerate(zip(figure.panels, drawings, sizes, strict=True)):
        x = _GAP + number % across * (wide + _GAP)
        y = _HEAD + number // across * (high + _GAP)
        if panel.name:
            parts.append(label((x, y + 12), panel.name, "caption"))
        placed = {"x": x, "y": y + _CAPTION, "width": size[0], "height": size[1]}
        found.attrib.update({name: f"{value:g}" for name, value in placed.items()})
        parts.append(found)
    said = node("title", text=f"{figure.title}, {figure.backbone}: {figure.note}")
    box = f"0 0 {width:g} {height:g}"
    root = node("svg", said, *parts, xmlns=_NAMESPACE, viewBox=box, role="img")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _style() -> Element:
    """Return the page's colours and what it says of drawings: a file shows nothing but these."""
    css = files("medpref.report").joinpath("templates", "report.css").read_text(encoding="utf-8")
    colours = css[: css.index("* {")]
    drawn = "\n".join(line for line in css.splitlines() if line.startswith("svg "))
    return node("style", text=f"{colours}{drawn}\n{_OWN_STYLE}")


def _plain(name: str) -> str:
    """Return a name that any file system takes."""
    return re.sub(r"[^\w.-]+", "-", name)
