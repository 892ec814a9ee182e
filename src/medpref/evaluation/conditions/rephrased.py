"""The same question in other words: an answer that changes with the wording was not read off the image."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import yaml

from medpref.evaluation.conditions.base import Condition, ConditionContext, conditions
from medpref.pairs.pair import IMAGE_PLACEHOLDER
from medpref.pairs.recipes.base import generator
from medpref.pairs.sample import Sample
from medpref.phantoms.questions import PHRASINGS

NAME = "rephrased"
VARIANTS = 3
"""So many conditions, each with another wording where a question has so many."""

_PARTS = re.compile(
    rf"(?P<before>(?:\s|{re.escape(IMAGE_PLACEHOLDER)})*)(?P<question>[^\n]*)(?P<after>.*)", re.DOTALL
)


class Pattern(NamedTuple):
    """A form of questions, and the forms that keep its answer."""

    form: re.Pattern[str]
    others: tuple[str, ...]


@cache
def _lists() -> tuple[dict[str, tuple[str, ...]], tuple[Pattern, ...]]:
    """Return the questions that mean the same, by each of them, and the patterns."""
    text = (files("medpref.evaluation.conditions") / "rephrasings.yaml").read_text("utf-8")
    listed = yaml.safe_load(text)
    # The wordings of phantoms come first: models that learned these know no others. Requests for a caption
    # are no questions.
    same = [group for kind, group in PHRASINGS.items() if kind != "caption"]
    same += [tuple(f"{question}?" for question in group) for group in listed["same"]]
    known: dict[str, tuple[str, ...]] = {}
    for group in same:
        for question in group:
            known.setdefault(_bare(question), group)
    patterns = [
        Pattern(re.compile(entry["of"], re.IGNORECASE), tuple(entry["as"])) for entry in listed["patterns"]
    ]
    return known, tuple(patterns)


def _bare(question: str) -> str:
    return " ".join(question.casefold().strip().rstrip("?. ").split())


def rephrasings(question: str) -> tuple[str, ...]:
    """Return the wordings that keep a question's answer, by the rules of ``rephrasings.yaml``.

    Args:
        question: one line, without ``<image>``.

    Returns:
        Other wordings in the order of the rules, in the question's own case; none where no rule is sure.
    """
    known, _ = _lists()
    bare = _bare(question)
    made = known.get(bare) or tuple(_by_pattern(" ".join(question.split()).rstrip("?. ")))
    return tuple(_in_case(question, other) for other in made if _bare(other) != bare)


def _by_pattern(question: str) -> Iterator[str]:
    for pattern in _lists()[1]:
        match = pattern.form.fullmatch(question)
        if match:
            # A verb that began the question may stand in its middle now.
            parts = {
                name: text.lower() if name == "verb" else text for name, text in match.groupdict().items()
            }
            yield from (other.format(**parts) for other in pattern.others)
            return


def _in_case(question: str, other: str) -> str:
    return other[0].upper() + other[1:] if question.strip()[:1].isupper() else other


def rephrase(prompt: str, number: int, seed: int, ident: str) -> str | None:
    """Return a prompt with its question in other words, or None where it has not so many wordings.

    Args:
        prompt: its first line that is not ``<image>`` is the question; choices that follow stay.
        number: which of the question's wordings, in an order that is drawn for each sample.
        seed: of the order.
        ident: the sample's id.
    """
    parts = _PARTS.fullmatch(prompt)
    if parts is None or IMAGE_PLACEHOLDER in parts["question"]:
        return None
    others = rephrasings(parts["question"])
    if number >= len(others):
        return None
    order = generator(seed, NAME, ident).permutation(len(others))
    return f"{parts['before']}{others[int(order[number])]}{parts['after']}"


def _rephrased(number: int) -> Callable[[Sequence[Sample], ConditionContext], list[Sample]]:
    def show(samples: Sequence[Sample], context: ConditionContext) -> list[Sample]:
        made = []
        for sample in samples:
            prompt = rephrase(sample.prompt, number, context.seed, sample.id)
            if prompt is not None:
                made.append(replace(sample, prompt=prompt))
        return made

    return show


for _number in range(VARIANTS):
    _name = NAME if _number == 0 else f"{NAME}-{_number + 1}"
    conditions.add(
        _name,
        Condition(
            f"the question in other words that keep its answer, wording {_number + 1}", _rephrased(_number)
        ),
    )
