"""A figure that explains a result: a few panels for one backbone."""

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class WhyPanel:
    """One drawing, with the method that it is of; no name where it is of all."""

    name: str
    drawing: Markup


@dataclass(frozen=True, slots=True)
class WhyFigure:
    """One quantity for one backbone.

    Attributes:
        key: what files with it are called.
        backbone: the backbone's name.
        title: what it shows.
        note: how to read it.
        panels: one or more.
    """

    key: str
    backbone: str
    title: str
    note: str
    panels: tuple[WhyPanel, ...]
