"""What an engine is: something that answers questions, one at a time or many."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from medpref.backbones.sampling import Sampling
from medpref.errors import InputError, did_you_mean
from medpref.generation.question import Answer, Failure, Question
from medpref.registry import Registry


class EngineSettings(BaseModel):
    """The settings of an engine; unknown keys fail, and messages never repeat what was given."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Engine(ABC):
    """Answers questions."""

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """What the answers depend on beside question and sampling, as JSON; without secrets."""

    @abstractmethod
    def answer(self, questions: Sequence[Question], sampling: Sampling) -> Iterator[Answer | Failure]:
        """Yield an answer or a failure for each question, in any order, as they come.

        What goes wrong with one question is a failure; what goes wrong with all of them is raised.

        Raises:
            InputError: the questions cannot be asked of this engine at all.
            RunError: the engine stopped working.
        """

    def groups(self, questions: Sequence[Question]) -> list[Sequence[Question]]:
        """Return the questions that are answered together: by rounding they may depend on each other.

        Asked some of its groups, whole and in this order, the engine groups them in the same way.
        """
        return [(question,) for question in questions]


@dataclass(frozen=True, slots=True)
class EngineKind:
    """One sort of engine.

    Attributes:
        summary: one line for listings.
        settings: the engine's settings.
        build: ``build(model, settings)`` makes one; `model` is a folder or an endpoint's address.
    """

    summary: str
    settings: type[EngineSettings]
    build: Callable[[str, Any], Engine]

    def make(self, model: str, settings: Mapping[str, Any]) -> Engine:
        """Check `settings` and make an engine.

        Raises:
            InputError: a setting is unknown or wrong, or the engine cannot be made.
        """
        try:
            checked = self.settings.model_validate(settings)
        except ValidationError as error:
            raise _explain(error, self.settings) from None
        return self.build(model, checked)


engines: Registry[EngineKind] = Registry("engine")


def _explain(error: ValidationError, settings: type[EngineSettings]) -> InputError:
    """Return the first fault as a message that names the setting and not its value."""
    first = error.errors(include_input=False, include_url=False)[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return InputError(
            f"this engine has no setting {name!r}", remedy=did_you_mean(name, settings.model_fields)
        )
    if first["type"] == "missing":
        return InputError(f"the engine's setting {name!r} is missing")
    return InputError(first["msg"], where=f"the engine's setting {name!r}")
