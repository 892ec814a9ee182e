"""Questions as plain lower-case words: one spelling, no punctuation, slips of one letter put right."""

import re
import unicodedata
from collections.abc import Iterable, Mapping

from medpref.pairs.pair import IMAGE_PLACEHOLDER

SHORTEST_TYPO = 5
"""Words shorter than this are left as they are: too many of them are one letter apart."""

_SIGNS = {"≥": " at least ", "≤": " at most ", ">": " more than ", "<": " less than ", "µ": "u", "μ": "u"}
_EITHER = re.compile(r"\b(is|are|was|were|has|have|does|do)\s?/\s?(?:is|are|was|were|has|have|does|do)\b")
_FORM = re.compile(r"\s[-(\[]\s*(?:open|closed?|yes\s?(?:/|or)\s?no)\s*[)\]?.]*\s*$")
_CHOICES = re.compile(r"(?:\s|^)[(]?[A-E][):.]\s.*$", re.DOTALL)
_NOT_WORD = re.compile(r"[^a-z0-9.]+|(?<!\d)\.|\.(?!\d)")


def plain(text: str, spelling: Mapping[str, str]) -> str:
    """Return `text` as lower-case ASCII words with one space between them.

    Hyphens and slashes part words (``x-ray`` is ``x ray``, ``is/are`` is ``is``). ``<image>``, lettered
    choices behind a question mark and a wanted form at the end (``- yes/no``) are no part of the question.

    Args:
        text: the question or answer.
        spelling: parts of words and what to write for them, such as ``haem: hem``; ``$`` is a word's end.
    """
    asked, mark, rest = text.replace(IMAGE_PLACEHOLDER, " ").partition("?")
    text = asked + mark + _CHOICES.sub(" ", rest) if mark else asked
    for sign, words in _SIGNS.items():
        text = text.replace(sign, words)
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    text = _EITHER.sub(r"\1", _FORM.sub("", text.replace("'s ", " ").replace("'", "")))
    text = _NOT_WORD.sub(" ", text).strip()
    for old, new in spelling.items():
        text = re.sub(old.replace("$", r"\b"), new, text)
    return text


def plural(word: str) -> str:
    """Return a pattern for a word of a list and its plural: ``mass`` and ``masses``, ``body`` and ``bodies``.

    A ``*`` stands for any letters.
    """
    endings = {"y": "(?:y|ies)", "is": "(?:is|es)", "us": "(?:us|i|uses)", "um": "(?:um|a|ums)"}
    for ending, both in endings.items():
        if word.endswith(ending) and not word.endswith(("ay", "ey", "oy")):
            return _letters(word.removesuffix(ending)) + both
    more = "(?:e|s)?" if word.endswith("a") else "(?:es)?" if word.endswith(("s", "x", "ch", "sh")) else "s?"
    return _letters(word) + more


def _letters(word: str) -> str:
    return r"\w*".join(re.escape(part) for part in word.split("*"))


class Typos:
    """Puts right words of five letters and more that are one slip away from a known word.

    A slip is one letter too many, too few, wrong, or two neighbours swapped. The first letter has to be
    right: otherwise ``liver`` would come of ``river``.

    Args:
        known: the words that may be meant.
        leave: words that are right, however near they are to a known one.
    """

    def __init__(self, known: Iterable[str], leave: Iterable[str]) -> None:
        self.known = frozenset(word for word in known if len(word) >= SHORTEST_TYPO)
        self.right = self.known.union(leave)
        self._by_slip: dict[str, str] = {}
        for word in sorted(self.known):
            for left in _without_one(word):
                self._by_slip.setdefault(left, word)

    def put_right(self, text: str) -> str:
        """Return `text`, words with one space between them, with such words replaced."""
        return " ".join(self._word(word) for word in text.split(" "))

    def _word(self, word: str) -> str:
        if len(word) < SHORTEST_TYPO or not word.isalpha() or self._is_form(word):
            return word
        near = {self._by_slip[left] for left in (word, *_without_one(word)) if left in self._by_slip}
        near |= {other for other in _without_one(word) if other in self.known}
        meant = sorted(other for other in near if other[0] == word[0] and is_one_slip(word, other))
        return meant[0] if meant else word

    def _is_form(self, word: str) -> bool:
        """Tell whether `word` is right, or a right word with an ending."""
        if word in self.right:
            return True
        stems = (word.removesuffix(end) for end in ("s", "es", "ed", "d", "ing", "ly", "al", "ic", "er"))
        return any(stem in self.right or stem + "e" in self.right for stem in stems if stem != word)


def _without_one(word: str) -> list[str]:
    return [word[:place] + word[place + 1 :] for place in range(1, len(word))]


def is_one_slip(word: str, other: str) -> bool:
    """Tell whether one letter more, less or changed, or one swap of neighbours, makes `other` of `word`."""
    if abs(len(word) - len(other)) > 1 or word == other:
        return False
    start = next((i for i, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), None)
    if start is None:
        return True
    left, right = word[start:], other[start:]
    return left[1:] == right or left == right[1:] or left[1:] == right[1:] or left[1::-1] + left[2:] == right
