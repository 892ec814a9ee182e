"""Small drawings as inline SVG, built as an element tree so that every text is escaped."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from markupsafe import Markup

Element = ElementTree.Element
Point = tuple[float, float]


class Scale(NamedTuple):
    """A linear map from the data's range to the drawing's, in user units."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return where `value` lies; values outside the range are put on its edge."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)


def node(tag: str, *children: Element, text: str | None = None, **attributes: str | float) -> Element:
    """Return an element; ``class_`` stands for class, and underscores in names for hyphens."""
    named = {key.rstrip("_").replace("_", "-"): _plain(value) for key, value in attributes.items()}
    element = Element(tag, named)
    element.text = text
    element.extend(children)
    return element


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else f"{round(value, 1):g}"


def drawing(width: float, height: float, children: Iterable[Element], *, label: str, class_: str) -> Markup:
    """Return an SVG that scales with its place; `label` says in words what it shows."""
    box = f"0 0 {_plain(width)} {_plain(height)}"
    root = node("svg", node("title", text=label), *children, role="img", viewBox=box, class_=class_)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def line(start: Point, end: Point, class_: str) -> Element:
    """Return a straight line."""
    return node("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=class_)


def label(at: Point, text: str, class_: str = "", anchor: str = "start") -> Element:
    """Return a text whose baseline starts, is centred or ends at `at`."""
    return node("text", text=text, x=at[0], y=at[1], class_=class_, text_anchor=anchor)


def path(points: Iterable[Point], class_: str) -> Element:
    """Return a line through points."""
    return node("path", d=path_data(points), class_=class_)


def path_data(points: Iterable[Point]) -> str:
    """Return the path data of a line through points, to a tenth of a user unit."""
    return "M" + "L".join(f"{_plain(x)} {_plain(y)}" for x, y in points)


def circle(at: Point, class_: str, size: float = 4.0) -> Element:
    """Return a disc."""
    return node("circle", cx=at[0], cy=at[1], r=size, class_=class_)


def square(at: Point, class_: str, size: float = 3.6) -> Element:
    """Return a square."""
    return node("rect", x=at[0] - size, y=at[1] - size, width=2 * size, height=2 * size, class_=class_)


def diamond(at: Point, class_: str, size: float = 4.8) -> Element:
    """Return a square on its corner."""
    x, y = at
    corners = [(x, y - size), (x + size, y), (x, y + size), (x - size, y)]
    return node("path", d=path_data(corners) + "Z", class_=class_)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round numbers within [low, high], about `count` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def extent(values: Sequence[float], margin: float = 0.04) -> tuple[float, float]:
    """Return the range of values with a margin on both sides; values without a range get one."""
    low, high = min(values), max(values)
    room = margin * (high - low) or max(abs(low), 1.0) * 0.05
    return low - room, high + room
