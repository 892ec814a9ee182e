"""A question's kinds by the words it is asked with."""

import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from medpref.pairs.kinds.lists import Lists, read_lists
from medpref.pairs.kinds.words import plain

DEFAULT_KEEP = 0.8


class Kind(NamedTuple):
    """One kind of a question.

    Attributes:
        name: one of the eleven kinds.
        score: how certain, from 0 to 1: the score of the surest pattern that matched. No probability.
        words: the words that speak for it, lower case and in American spelling; none for a bare ``other``.
    """

    name: str
    score: float
    words: tuple[str, ...]


NOTHING = (Kind("other", 0.0, ()),)
"""What a question is whose words tell nothing."""


class Classifier:
    """Tells the kinds of questions by lists.

    Args:
        lists: words and patterns.

    Raises:
        InputError: a pattern is wrong.
    """

    def __init__(self, lists: Lists) -> None:
        self.lists = lists
        self.keep = lists.keep if lists.keep is not None else DEFAULT_KEEP
        self._opening = lists.opening()
        self._asked = sorted(lists.patterns("kinds"), key=lambda rule: -rule[1])
        self._answered = sorted(lists.patterns("answers"), key=lambda rule: -rule[1])
        self._kinds = lru_cache(maxsize=50_000)(self._classify)

    def __call__(self, question: str, answer: str | None = None) -> tuple[Kind, ...]:
        """Return the kinds of `question`, the most certain first: always at least one.

        Args:
            question: the question's text.
            answer: its gold answer, where known; it decides only where the question says little.
        """
        return self._kinds(question, answer)

    def _classify(self, question: str, answer: str | None) -> tuple[Kind, ...]:
        words = self.words(question)
        found = _matches(self._asked, self._opening.sub("", words) if self._opening else words)
        if answer is not None:
            for name, kind in _matches(self._answered, self.words(answer)).items():
                found[name] = kind if name not in found or kind.score > found[name].score else found[name]
        if not found:
            return NOTHING
        # Python's sort is stable: of equal scores the kind that stands first in the lists wins.
        kinds = sorted(found.values(), key=lambda kind: -kind.score)
        return tuple(kind for kind in kinds if kind.score >= self.keep * kinds[0].score)

    def words(self, text: str) -> str:
        """Return `text` as the patterns see it: plain words, slips put right."""
        return self.lists.typos.put_right(plain(text, self.lists.spelling))


def _matches(rules: list[tuple[str, float, re.Pattern[str]]], text: str) -> dict[str, Kind]:
    """Return the best score of each kind and the words of all its matches, the surest first."""
    found: dict[str, Kind] = {}
    for name, score, pattern in rules:
        match = pattern.search(text)
        if match is None:
            continue
        before = found.get(name, Kind(name, score, ()))
        words = tuple(word for word in _evidence(match) if not _is_within(word, before.words))
        found[name] = before._replace(words=before.words + words)
    return found


def _is_within(word: str, others: tuple[str, ...]) -> bool:
    return any(f" {word} " in f" {other} " for other in others)


def _evidence(match: re.Match[str]) -> list[str]:
    """Return the matched words without those that ``..`` stood for."""
    pieces, start = [], match.start()
    for number in range(1, len(match.groups()) + 1):
        if match.start(number) >= 0:
            pieces.append(match.string[start : match.start(number)])
            start = match.end(number)
    pieces.append(match.string[start : match.end()])
    return [piece.strip() for piece in pieces if piece.strip()]


@lru_cache(maxsize=8)
def classifier(lists: Path | None = None) -> Classifier:
    """Return the classifier of the bundled lists, and of the user's file `lists` behind them.

    Raises:
        InputError: the file is missing or not of the lists' form.
    """
    return Classifier(read_lists(lists))


def classify(question: str, answer: str | None = None) -> tuple[Kind, ...]:
    """Return the kinds of `question` by the bundled lists, the most certain first; ``other`` at least.

    Args:
        question: the question's text; ``<image>`` in it is passed over.
        answer: its gold answer, where known; it decides only where the question says little.
    """
    return classifier()(question, answer)
