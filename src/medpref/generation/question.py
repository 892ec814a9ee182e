"""What an engine is asked and what it gives back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from medpref.backbones.sampling import Sampling
from medpref.files import cached_file_hash, content_hash
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Turn
from medpref.pairs.recipes.base import seed_of


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt on images.

    Attributes:
        id: unique among the questions that are asked together.
        prompt: the user's text with its ``<image>`` placeholders.
        images: one file for each placeholder of history and prompt, in order.
        history: earlier turns of the conversation.
    """

    id: str
    prompt: str
    images: tuple[Path, ...] = ()
    history: tuple[Turn, ...] = ()

    @property
    def users(self) -> tuple[str, ...]:
        """The user's texts, the last one at the end."""
        return (*(turn.user for turn in self.history), self.prompt)

    @property
    def fault(self) -> str | None:
        """Why this cannot be asked of any model, or None."""
        placeholders = sum(text.count(IMAGE_PLACEHOLDER) for text in self.users)
        if placeholders != len(self.images):
            return f"{placeholders} {IMAGE_PLACEHOLDER} in the prompt for {len(self.images)} images"
        if not self.prompt.replace(IMAGE_PLACEHOLDER, "").strip():
            return "the prompt is empty"
        return None

    def digest(self) -> str:
        """Return a hash of everything that is asked: texts, and the content of the image files."""
        return content_hash(self.prompt, [list(turn) for turn in self.history], _contents(self.images))


Finish: TypeAlias = Literal["stop", "length"]
"""Why an answer ended: the model closed it, or it reached its longest."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said.

    Attributes:
        id: the question's.
        text: the answer.
        finish: why it ended.
        tokens: how many tokens were generated, where the engine tells.
    """

    id: str
    text: str
    finish: Finish
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A question without an answer, and why.

    Attributes:
        id: the question's.
        reason: one line, without secrets and image bytes.
    """

    id: str
    reason: str


def question_seed(sampling: Sampling, question: Question) -> int:
    """Return the seed of one question's draws: it does not depend on what else is asked."""
    return seed_of(str(sampling.seed), question.id)


def _contents(images: tuple[Path, ...]) -> list[str]:
    return [_content(path) for path in images]


def _content(path: Path) -> str:
    try:
        return cached_file_hash(path)
    except OSError:
        return "missing"
