"""Both sides become one: the noun and its verb change their number with them."""

import re
from collections.abc import Callable, Iterator
from functools import cache

from medpref.pairs.edits.asking import Asked
from medpref.pairs.edits.fact import Alternative, Fact
from medpref.pairs.edits.grammar import is_denied, plural, sentence_around, starts_sentence, states_normal
from medpref.pairs.edits.lists import either, numbers
from medpref.pairs.edits.mentions import is_whole, stated

Writer = Callable[[str, re.Match[str], str], Alternative]

_SINGULAR_VERBS = {
    "are": "is",
    "were": "was",
    "have": "has",
    "appear": "appears",
    "show": "shows",
    "demonstrate": "demonstrates",
    "contain": "contains",
    "look": "looks",
}


# "Both lung", as some data sets answer.
_BODY = ("lung", "kidney", "hemisphere", "breast", "lobe")


@cache
def _both() -> re.Pattern[str]:
    nouns = {plural(noun) for noun in numbers().paired} | set(_BODY)
    return re.compile(
        rf"\b(?P<word>both|bilateral)\s+(?P<of>of\s+the\s+|the\s+)?(?P<mods>(?:[\w-]+\s+){{0,2}}?)"
        rf"(?P<noun>{either(list(nouns))})\b(?P<verb>\s+(?:{either(list(_SINGULAR_VERBS))})\b)?",
        re.IGNORECASE,
    )


# "Nodules in both lungs are": the verb is not that of the lungs.
_AFTER_PREPOSITION = re.compile(
    r"\b(in|on|of|at|to|within|from|involving|throughout)\s+(the\s+)?\Z", re.IGNORECASE
)
_COMPARES = re.compile(r"\b(a?symmetr\w*|equal\w*|same|compar\w*|respectively|each)\b", re.IGNORECASE)
_PLAIN = re.compile(r"\b(?P<word>bilaterally|bilateral|b/l)(?!\w)", re.IGNORECASE)


@cache
def _singular() -> dict[str, str]:
    return {plural(noun): noun for noun in numbers().paired} | {noun: noun for noun in _BODY}


def both_sides(text: str, asks: Asked) -> Iterator[Fact]:
    """Yield what a text says of both sides, changed into one: "both lungs are" becomes "the left lung is"."""
    taken = []
    for match in _both().finditer(text):
        if match.group("word").lower() == "bilateral" and match.group("noun").lower() in _BODY:
            continue
        taken.append(match.span())
        yield _fact(text, match, asks, _one_of_the_pair)
    for match in _PLAIN.finditer(text):
        if is_whole(text, *match.span()) or any(start <= match.start() < end for start, end in taken):
            continue
        yield _fact(text, match, asks, _one_side)


def _fact(text: str, match: re.Match[str], asks: Asked, write: Writer) -> Fact:
    start, end = sentence_around(text, match.start())
    rest = text[: match.start()] + " | " + text[match.end() :]
    # What is normal on both sides is normal on each: one of them would be no error.
    shielded = states_normal(text[start:end]) or _COMPARES.search(text[start:end]) is not None
    safe = not (shielded or asks.open_ended or is_denied(text, match.start()))
    # "Bilateral opacities, worse on the left" are not on the right alone.
    told = stated([rest]) & {("side", "left"), ("side", "right")}
    sides = ("left", "right") if safe and not told else ()
    mixed = re.search(r"\b(left|right|and|or)\b", match.group(), re.IGNORECASE)
    wrong = () if mixed else tuple(write(text, match, side) for side in sides)
    return Fact(match.start("word"), match.end("word"), "side", "bilateral", wrong)


def _one_of_the_pair(text: str, match: re.Match[str], side: str) -> Alternative:
    noun = match.group("noun")
    one = _singular()[noun.lower()]
    one = one.capitalize() if noun[0].isupper() else one
    verb = match.group("verb") or ""
    if verb and not _AFTER_PREPOSITION.search(text[: match.start()]):
        verb = " " + _SINGULAR_VERBS[verb.strip().lower()]
    starts = starts_sentence(text, match.start())
    # A phrase without a verb begins without an article: "Both lungs" is answered by "Left lung".
    bare = (starts and not verb) or re.search(r"\bthe\s+\Z", text[: match.start()], re.IGNORECASE)
    words = f"{'' if bare else 'the '}{side} {match.group('mods')}{one}{verb}"
    if match.group("word")[0].isupper() and (starts or text.istitle()):
        words = words[0].upper() + words[1:]
    return Alternative(side, match.start(), match.end(), words)


def _one_side(text: str, match: re.Match[str], side: str) -> Alternative:
    word = match.group("word")
    words = side if word.lower() != "bilaterally" else f"on the {side}"
    before = re.search(r"\b(a)\s+\Z", text[: match.start()])
    words = words.capitalize() if word[0].isupper() and not before else words
    return Alternative(side, match.start(), match.end(), words)
