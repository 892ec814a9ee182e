"""Answers made comparable: one spelling for case, punctuation, articles, white space and number words."""

import re
import unicodedata
from collections.abc import Iterator

# In this order: a number with thousands separators, a number, a word of any script. A number ends where its
# unit begins, so that "2cm" equals "2 cm", while "T2" stays whole.
_TOKEN = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|[^\W_]+")
_APOSTROPHE = re.compile(r"(?<=\w)['’ʼ`´](?=\w)")
# Zero-width characters, the soft hyphen and the byte order mark: invisible, yet they would split a word.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")

_ARTICLES = frozenset({"a", "an", "the"})
_SMALL = (
    *(
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_UNITS = {word: value for value, word in enumerate(_SMALL)}
_DECADES = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_TENS = {word: 10 * value for value, word in enumerate(_DECADES, start=2)}


def fold(text: str) -> str:
    """Return `text` in Unicode NFKC, without case and without invisible characters; punctuation stays."""
    visible = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    # Case folding can leave decomposed characters behind, hence the second normalisation.
    return unicodedata.normalize("NFKC", visible.casefold())


def tokens(text: str) -> list[str]:
    """Return the words and numbers of `text`, normalised.

    Case, punctuation, white space and articles do not count; number words up to ninety-nine become digits.
    An article counts where it ends the answer, since it then is a label: "vitamin A", choice "A".

    Args:
        text: an answer in any script.

    Returns:
        The tokens in their order; empty where `text` holds neither a letter nor a digit.
    """
    words = _TOKEN.findall(_APOSTROPHE.sub("", fold(text)))
    kept = [word for word in words[:-1] if word not in _ARTICLES] + words[-1:]
    return list(_digits(kept))


def normalise(text: str) -> str:
    """Return the tokens of `text` joined by single spaces; equal strings are equal answers."""
    return " ".join(tokens(text))


def _digits(words: list[str]) -> Iterator[str]:
    """Yield `words` with number words as digits; "twenty" and "one" in a row are one number."""
    position = 0
    while position < len(words):
        word = words[position]
        following = _UNITS.get(words[position + 1], 0) if position + 1 < len(words) else 0
        if word in _TENS and 0 < following < 10:
            yield str(_TENS[word] + following)
            position += 2
            continue
        number = _UNITS.get(word, _TENS.get(word))
        yield word.replace(",", "") if number is None else str(number)
        position += 1
