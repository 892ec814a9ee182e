"""What a family of backbones is: how the model that a study starts from comes into being."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from medpref.backbones.base import Backbone
from medpref.registry import Registry


@dataclass(frozen=True, slots=True)
class StartContext:
    """What a family may use to make the backbone that a study starts from.

    Attributes:
        texts: returns the training texts that a tokenizer may learn from.
        seed: of random weights and orders.
        folder: for checkpoints of whatever is trained.
        advance: call with the amount of work done.
        expect: call with the whole amount of work, once it is known.
    """

    texts: Callable[[], Iterable[str]]
    seed: int
    folder: Path
    advance: Callable[[int], None]
    expect: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class BackboneFamily:
    """How backbones of one family come into being.

    Attributes:
        summary: one line for listings.
        settings: the family's settings in a study.
        start: ``start(settings, context)`` makes or loads the backbone.
    """

    summary: str
    settings: type[BaseModel]
    start: Callable[[Any, StartContext], Backbone]


backbones: Registry[BackboneFamily] = Registry("backbone family")
