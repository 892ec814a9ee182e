"""Engines and questions that the tests of this folder share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medpref.backbones.sampling import Sampling
from medpref.generation.engine import Engine
from medpref.generation.question import Answer, Failure, Question

PROMPTS = [
    "<image>\nWhere?",
    "<image>\nIs there a lesion in the left lung, and if so, where is it?",
    "Is pneumonia an infection?",
    "<image>\n<image>\nWhich one is clear?",
    "Describe the image.",
]


def make_questions(images: Sequence[Path]) -> list[Question]:
    """Return fifteen questions of five lengths, on zero to two of the images."""
    made = []
    for number in range(15):
        prompt = PROMPTS[number % 5]
        shown = tuple(images[(number + i) % len(images)] for i in range(prompt.count("<image>")))
        made.append(Question(f"q{number}", prompt, shown))
    return made


class Echo(Engine):
    """Answers in groups of three, and notes what it was asked; some questions it cannot answer."""

    def __init__(self, model: str = "one", wrong: Sequence[str] = ()) -> None:
        self.model = model
        self.wrong = set(wrong)
        self.asked: list[str] = []
        self.before: Callable[[Question], None] = lambda _: None

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"engine": "echo", "model": self.model, "sizes": (1, 2)}

    def groups(self, questions: Sequence[Question]) -> list[Sequence[Question]]:
        return [questions[start : start + 3] for start in range(0, len(questions), 3)]

    def answer(self, questions: Sequence[Question], sampling: Sampling) -> Iterator[Answer | Failure]:
        for group in self.groups(questions):
            for question in group:
                self.before(question)
                self.asked.append(question.id)
                if question.id in self.wrong:
                    yield Failure(question.id, "it is wrong")
                else:
                    yield Answer(question.id, f"{question.prompt} ({len(group)})", "stop", len(group))
