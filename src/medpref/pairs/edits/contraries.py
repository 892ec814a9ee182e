"""What a statement of a finding becomes when its contrary is stated."""

import re
from collections.abc import Callable, Iterator

from medpref.pairs.edits.answers import DENIABLE, any_affirmed, verb_affirmed
from medpref.pairs.edits.phrases import (
    Part,
    capital,
    denied,
    is_plural,
    lower,
    part_of,
    phrase,
    there_is,
    with_article,
)

Found = tuple[int, int, str, str]
"""Start and end of the replaced characters in the sentence, what stands there instead, and the finding."""

Rule = tuple[str, Callable[[re.Match[str]], Iterator[Found]]]


def _no_findings(match: re.Match[str]) -> Iterator[Found]:
    """ "No A, B or C." → one of them is there."""
    items = [
        item for item in re.split(r",\s*(?:or\s+|and\s+)?|\s+or\s+|\s+and\s+", match.group("items")) if item
    ]
    known = [item for item in items if re.fullmatch(phrase(), item, re.IGNORECASE)]
    if not items or known != items:
        return
    start = match.start("lead")
    if len(items) == 1:
        yield from _no_finding(match, part_of(items[0]))
        return
    # "No evidence of a mass or effusions": the article belongs to the first alone.
    if match.group("place") or re.search(r"\ban?\s+\Z", match.group("evidence") or "", re.IGNORECASE):
        return
    lead = match.group("lead") + (match.group("evidence") or "")
    seen = match.group("seen") or ""
    for place, item in enumerate(items):
        others = items[:place] + items[place + 1 :]
        comma = "," if len(others) > 2 and re.search(r",\s*(or|and)\s", match.group("items")) else ""
        listed = others[0] if len(others) == 1 else ", ".join(others[:-1]) + f"{comma} or {others[-1]}"
        if len(others) == 1 and seen:
            seen = re.sub(r"\bare\b", "are" if is_plural(part_of(others[0])) else "is", seen)
        words = f"{lead}{listed}{seen}, but {there_is(part_of(item))}"
        yield start, match.end("seen") if seen else match.end("items"), words, item


def _no_finding(match: re.Match[str], part: Part) -> Iterator[Found]:
    lead, evidence, seen = match.group("lead"), match.group("evidence"), match.group("seen")
    start, end = match.start("lead"), match.end("items")
    phrase = with_article(part)
    if evidence:
        words = f"there is {evidence}{part.words}" if not seen else f"{evidence}{part.words}"
    elif seen:
        words = phrase
    else:
        words = f"there {'are' if is_plural(part) else 'is'} {phrase}"
    yield start, end, capital(words, lead), part.words


def _there_is_finding(match: re.Match[str]) -> Iterator[Found]:
    part = part_of(match.group("np"))
    both = re.search(r"\b(both|bilateral\w*)\b", match.string, re.IGNORECASE)
    if both is None:
        yield match.start("what"), match.end("np"), f"no {denied(part)}", part.words


def _finding_is_seen(match: re.Match[str]) -> Iterator[Found]:
    part = part_of(match.group("np"))
    words = lower(denied(part)) if not match.group("det") else denied(part)
    yield match.start(), match.end("np"), capital(f"no {words}", match.group()), part.words


def fragment(match: re.Match[str]) -> Iterator[Found]:
    """ "Small effusion." → "No effusion." """
    part = part_of(match.group("np"))
    yield (
        match.start("np"),
        match.end("np"),
        capital(f"no {lower(denied(part))}", match.group("np")),
        part.words,
    )


def _without(match: re.Match[str]) -> Iterator[Found]:
    part = part_of(match.group("np"))
    evidence = match.group("evidence") or ""
    words = f"with {evidence}{part.words}" if evidence else f"with {with_article(part)}"
    yield match.start(), match.end("np"), capital(words, match.group()), part.words


def _with(match: re.Match[str]) -> Iterator[Found]:
    part = part_of(match.group("np"))
    yield (
        match.start(),
        match.end("np"),
        f"without {with_article(part_of(denied(part))) if match.group('det') else denied(part)}",
        part.words,
    )


def _shows_no(match: re.Match[str]) -> Iterator[Found]:
    part = part_of(match.group("np"))
    evidence = match.group("evidence") or ""
    words = f"{evidence}{part.words}" if evidence else with_article(part)
    yield match.start("no"), match.end("np"), words, part.words


def _not(match: re.Match[str]) -> Iterator[Found]:
    """ "Is not seen" → "is seen"; the verb is in the span, so that something stands there."""
    verb = match.group("verb")
    yield match.start("verb"), match.end("verb") + len(" not"), verb, "not"


def _yes_there_is(match: re.Match[str]) -> Iterator[Found]:
    part = part_of(match.group("np"))
    answer = capital("no", match.group("answer"))
    verb = match.group("verb")
    if is_plural(part):
        verb = re.sub(r"\bis\Z", "are", verb)
    yield (
        match.start("answer"),
        match.end("np"),
        f"{answer}{match.group('between')}{verb} no {denied(part)}",
        part.words,
    )


def _no_there_is_no(match: re.Match[str]) -> Iterator[Found]:
    part = part_of(match.group("np"))
    answer = capital("yes", match.group("answer"))
    evidence = match.group("evidence") or ""
    phrase = f"{evidence}{part.words}" if evidence else with_article(part)
    words = f"{answer}{match.group('between')}{match.group('verb')} {phrase}"
    yield match.start("answer"), match.end("np"), words, part.words


def _does(match: re.Match[str]) -> Iterator[Found]:
    """ "Does not show any mass" → "shows a mass"."""
    yield match.start("verb"), match.end(), verb_affirmed(match) + any_affirmed(match.group("any")), "not"


def _word(wrong: str) -> Callable[[re.Match[str]], Iterator[Found]]:
    """Return a writer that puts `wrong` in the place of the pattern's ``word``."""

    def write(match: re.Match[str]) -> Iterator[Found]:
        said = match.group("word")
        yield (
            match.start("word"),
            match.end("word"),
            capital(wrong, said) if wrong else "",
            said.strip().lower(),
        )

    return write


_ADJECTIVES = (
    r"(?:enlarged|dilated|thickened|displaced|distended|widened|elevated|fractured|obstructed|collapsed|deviated"
    r"|opacified|inflamed|compressed|enhancing|involved)"
)

_EVIDENCE = (
    r"(?P<evidence>(?:(?:radiographic |definite |clear |any )?(?:evidence|signs?) (?:of|for) "
    r"(?:an? (?=PHRASE))?)?)"
)
_SHOWS = (
    r"(?P<verb>there (?:is|are)"
    r"|(?:the|this) [\w -]{2,40}? (?:clearly )?(?:shows?|demonstrates?|reveals?|has|have))"
)
_SOME = (
    r"(?:an? |some |(?:(?:clear|definite) )?(?:evidence|signs?) of (?:an? )?"
    r"|(?:the|a) presence of (?:an? )?)?"
)
_ITEMS = r"PHRASE(?:(?:,\s*(?:or\s+|and\s+)?|\s+or\s+|\s+and\s+)PHRASE)*"
_ALONE = r"(?!\s*,|\s+(?:or|and)\b)"
_END = r"\s*[.;]?\s*\Z"
RULES: tuple[Rule, ...] = (
    (
        rf"(?P<lead>there (?:is|are) no |no ){_EVIDENCE}(?P<items>{_ITEMS})"
        rf"(?P<seen>\s+(?:is|are)\s+SEEN)?(?P<place>PLACE){_END}",
        _no_findings,
    ),
    (
        rf"(?P<answer>no)(?P<between>,\s+){_SHOWS} no {_EVIDENCE}(?P<np>PHRASE)PLACE{_END}",
        _no_there_is_no,
    ),
    (
        rf"(?P<answer>yes)(?P<between>,\s+){_SHOWS} {_SOME}(?P<np>PHRASE)PLACE{_END}",
        _yes_there_is,
    ),
    (rf"there (?:is|are) (?P<what>(?:an? |some |evidence of )?(?P<np>PHRASE))PLACE{_END}", _there_is_finding),
    (rf"(?P<det>an?\s+)?(?P<np>PHRASE)\s+(?:is|are)\s+SEENPLACE{_END}", _finding_is_seen),
    (rf"(?:the\s+)?(?P<np>PHRASE)\s+(?P<verb>is|are|was|were) not SEENPLACE{_END}", _not),
    (rf"(?P<np>PHRASE)PLACE{_END}", fragment),
)
INSIDE: tuple[Rule, ...] = (
    (
        rf"\bwithout (?:an? |any )?{_EVIDENCE}(?P<np>PHRASE){_ALONE}",
        _without,
    ),
    (
        rf"\b(?:shows?|demonstrates?|reveals?|has|have|with) (?P<no>no ){_EVIDENCE}(?P<np>PHRASE){_ALONE}",
        _shows_no,
    ),
    (
        r"\b(?:shows?|demonstrates?|reveals?) "
        rf"(?P<what>(?:an? |some )?(?:evidence of (?:an? )?)?(?P<np>PHRASE))PLACE{_END}",
        _there_is_finding,
    ),
    # "Consistent with edema" and "associated with an effusion" have no contrary of that form.
    (
        r"(?<=\w )(?<!consistent )(?<!compatible )(?<!keeping )(?<!associated )(?<!compared )"
        rf"with (?P<det>an? )?(?P<np>PHRASE){_END}",
        _with,
    ),
    (r"\b(?:is|are|remains?|appears?) (?P<word>free of)\b", _word("not free of")),
    (r"\b(?P<word>negative) for\b", _word("positive")),
    (r"\b(?P<word>positive) for\b", _word("negative")),
    (r"\b(?:has|have) (?P<word>(?:completely |entirely )?(?:resolved|disappeared))\b", _word("persisted")),
    (r"\b(?:is|are) (?P<word>no longer) SEEN\b", _word("still")),
    (
        rf"\b(?P<verb>(?P<do>does|do)\s+not\s+(?:clearly\s+)?(?P<base>{DENIABLE}))\b"
        r"(?P<any>\s+any\b(?:\s+(?:evidence|signs?)\s+of\b)?(?:\s+PHRASE)?)?(?P<be>\Z\A)?",
        _does,
    ),
    (rf"\b(?P<verb>is|are) not (?:{_ADJECTIVES}|SEEN)\b", _not),
    (r"\b(?P<word>absence) of\b", _word("presence")),
    (r"\b(?:is|are) (?P<word>absent)\b", _word("present")),
)
