"""What a judge is: something that labels the facts of items by a text."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from medpref.errors import InputError, did_you_mean
from medpref.evaluation.facts.labels import Label
from medpref.evaluation.facts.replies import write_labels
from medpref.registry import Registry


class JudgeSettings(BaseModel):
    """The settings of a judge; unknown keys fail, and messages never repeat what was given."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Item:
    """What is judged: facts, and the text that they are held against.

    Attributes:
        id: the sample's.
        facts: at least one.
        text: a response; in the reverse direction a reference.
    """

    id: str
    facts: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge made of an item.

    Attributes:
        item: what was judged.
        content: the labels as a JSON list, or the judge's own words where they give none; None where the
            judge said nothing.
        reason: why there are no labels, or None.
        finish: ``stop``, or ``length`` where the judge was cut short.
    """

    item: Item
    content: str | None
    reason: str | None = None
    finish: str = "stop"

    @classmethod
    def of(cls, item: Item, labels: Sequence[Label]) -> "Judgement":
        """Return the judgement that gives an item's facts `labels`."""
        return cls(item, write_labels(labels))


class Judge(ABC):
    """Labels facts."""

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """What the labels depend on beside facts and text, as JSON; without secrets."""

    @abstractmethod
    def judge(self, items: Sequence[Item]) -> Iterator[Judgement]:
        """Yield a judgement for each item, in any order, as they come.

        Raises:
            InputError: the items cannot be judged at all.
            RunError: the judge stopped working, or waits for a batch.
        """

    def told(self) -> Mapping[str, Any]:
        """Return what a report says of the work: requests and costs where there are some."""
        return {}


@dataclass(frozen=True, slots=True)
class JudgeKind:
    """One sort of judge.

    Attributes:
        summary: one line for listings.
        settings: the judge's settings.
        build: makes one of checked settings.
    """

    summary: str
    settings: type[BaseModel]
    build: Callable[[Any], Judge]

    def make(self, settings: Mapping[str, Any]) -> Judge:
        """Check `settings` and make a judge.

        Raises:
            InputError: a setting is unknown or wrong, or the judge cannot be made.
        """
        return self.build(check_settings(self.settings, settings, "judge"))


def check_settings(model: type[BaseModel], settings: Mapping[str, Any], noun: str) -> BaseModel:
    """Return checked settings. Raises `InputError`, which names the setting and not its value."""
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        # A misspelt name first: it explains why another one is missing.
        first = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            remedy = did_you_mean(name, model.model_fields)
            raise InputError(f"this {noun} has no setting {name!r}", remedy=remedy) from None
        if first["type"] == "missing":
            raise InputError(
                f"the {noun}'s setting {name!r} is missing", remedy=f"Say it: --set {name}=VALUE."
            ) from None
        raise InputError(first["msg"], where=f"the {noun}'s setting {name!r}") from None


judges: Registry[JudgeKind] = Registry("judge")
