"""What is there and what is not: yes and no, normal and abnormal, and findings that are stated or denied."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from medpref.pairs.edits.asking import Asked
from medpref.pairs.edits.fact import Alternative, Fact
from medpref.pairs.edits.grammar import article, is_denied, is_hedged, sentences, states_normal
from medpref.pairs.edits.lists import Finding, either, presence

_SEEN = (
    r"(?:seen|identified|present|noted|evident|visualized|visualised|appreciated|detected|demonstrated|visible"
    r"|observed|found|shown)"
)
_PLACE = r"(?:\s+(?:in|of|at|on|within|along|over|involving|near|throughout|adjacent to)\s+[^,;:.]*)?"
_CLOSED = re.compile(r"\W*(?P<word>yes|no)\W*", re.IGNORECASE)
_CHOICE = re.compile(r"\W*(?:it is |it's |they are )?(?P<word>normal|abnormal)\W*", re.IGNORECASE)


class Part(NamedTuple):
    """A noun phrase of a finding: the words before its noun, and the noun."""

    modifiers: str
    noun: str

    @property
    def words(self) -> str:
        """The whole phrase."""
        return self.modifiers + self.noun


@cache
def _findings() -> dict[str, tuple[Finding, bool]]:
    """Return noun → finding and whether the noun is a plural."""
    found: dict[str, tuple[Finding, bool]] = {}
    for finding in presence().findings:
        found[finding.one] = (finding, False)
        for word in finding.also:
            found.setdefault(word, (finding, word.endswith("s") and not finding.mass))
        if finding.many:
            found[finding.many] = (finding, True)
    return found


@cache
def _phrase() -> str:
    modifier = either(presence().modifiers)
    return (
        rf"(?:(?:{modifier})(?:,?\s+|\s+(?:and|or)\s+(?=(?:{modifier})\b)))*(?:{either(list(_findings()))})\b"
    )


@cache
def _split() -> re.Pattern[str]:
    return re.compile(rf"(?P<mods>.*?)(?P<noun>{either(list(_findings()))})\Z", re.IGNORECASE | re.DOTALL)


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(
        pattern.replace("PHRASE", _phrase()).replace("SEEN", _SEEN).replace("PLACE", _PLACE), re.I
    )


def _part(words: str) -> Part:
    match = _split().match(words)
    return Part(match.group("mods"), match.group("noun")) if match else Part("", words)


def _is_plural(part: Part) -> bool:
    return _findings()[part.noun.lower()][1]


def _there_is(part: Part) -> str:
    """Return "a pleural effusion" with the verb and article it takes: "there is a ..."."""
    return f"there {'are' if _is_plural(part) else 'is'} {_with_article(part)}"


def _with_article(part: Part) -> str:
    finding, many = _findings()[part.noun.lower()]
    return part.words if many or finding.mass else f"{article(part.words)} {part.words}"


def _denied(part: Part) -> str:
    """Return a phrase without its degree: the contrary of "a small effusion" is "no effusion"."""
    degree = re.compile(rf"\b(?:{either(presence().degrees)})\s+", re.IGNORECASE)
    return degree.sub("", part.modifiers) + part.noun


def _capital(words: str, like: str) -> str:
    return words[0].upper() + words[1:] if like[:1].isupper() else words[0].lower() + words[1:]


def _lower(words: str) -> str:
    return words if words[:2].isupper() else words[0].lower() + words[1:]


Found = tuple[int, int, str, str]
"""Start and end of the replaced characters in the sentence, what stands there instead, and the finding."""

Rule = tuple[str, Callable[[re.Match[str]], Iterator[Found]]]


def _no_findings(match: re.Match[str]) -> Iterator[Found]:
    """ "No A, B or C." → one of them is there."""
    items = [
        item for item in re.split(r",\s*(?:or\s+|and\s+)?|\s+or\s+|\s+and\s+", match.group("items")) if item
    ]
    known = [item for item in items if re.fullmatch(_phrase(), item, re.IGNORECASE)]
    if not items or known != items:
        return
    start = match.start("lead")
    if len(items) == 1:
        yield from _no_finding(match, _part(items[0]))
        return
    if match.group("place"):
        return
    lead = match.group("lead") + (match.group("evidence") or "")
    seen = match.group("seen") or ""
    for place, item in enumerate(items):
        others = items[:place] + items[place + 1 :]
        listed = others[0] if len(others) == 1 else ", ".join(others[:-1]) + f" or {others[-1]}"
        if len(others) > 1 and re.search(r",\s*(or|and)\s", match.group("items")):
            listed = ", ".join(others[:-1]) + f", or {others[-1]}"
        if len(others) == 1 and seen:
            seen = re.sub(r"\bare\b", "are" if _is_plural(_part(others[0])) else "is", seen)
        words = f"{lead}{listed}{seen}, but {_there_is(_part(item))}"
        yield start, match.end("seen") if seen else match.end("items"), words, item


def _no_finding(match: re.Match[str], part: Part) -> Iterator[Found]:
    lead, evidence, seen = match.group("lead"), match.group("evidence"), match.group("seen")
    start, end = match.start("lead"), match.end("items")
    phrase = _with_article(part)
    if evidence:
        words = f"there is {evidence}{part.words}" if not seen else f"{evidence}{part.words}"
    elif seen:
        words = phrase
    else:
        words = f"there {'are' if _is_plural(part) else 'is'} {phrase}"
    yield start, end, _capital(words, lead), part.words


def _there_is_finding(match: re.Match[str]) -> Iterator[Found]:
    part = _part(match.group("np"))
    both = re.search(r"\b(both|bilateral\w*)\b", match.string, re.IGNORECASE)
    if both is None:
        yield match.start("what"), match.end("np"), f"no {_denied(part)}", part.words


def _finding_is_seen(match: re.Match[str]) -> Iterator[Found]:
    part = _part(match.group("np"))
    words = _lower(_denied(part)) if not match.group("det") else _denied(part)
    yield match.start(), match.end("np"), _capital(f"no {words}", match.group()), part.words


def _fragment(match: re.Match[str]) -> Iterator[Found]:
    part = _part(match.group("np"))
    yield (
        match.start("np"),
        match.end("np"),
        _capital(f"no {_lower(_denied(part))}", match.group("np")),
        part.words,
    )


def _without(match: re.Match[str]) -> Iterator[Found]:
    part = _part(match.group("np"))
    evidence = match.group("evidence") or ""
    words = f"with {evidence}{part.words}" if evidence else f"with {_with_article(part)}"
    yield match.start(), match.end("np"), _capital(words, match.group()), part.words


def _with(match: re.Match[str]) -> Iterator[Found]:
    part = _part(match.group("np"))
    yield (
        match.start(),
        match.end("np"),
        f"without {_with_article(_part(_denied(part))) if match.group('det') else _denied(part)}",
        part.words,
    )


def _shows_no(match: re.Match[str]) -> Iterator[Found]:
    part = _part(match.group("np"))
    evidence = match.group("evidence") or ""
    words = f"{evidence}{part.words}" if evidence else _with_article(part)
    yield match.start("no"), match.end("np"), words, part.words


def _not_seen(match: re.Match[str]) -> Iterator[Found]:
    yield match.start("not"), match.end("not"), "", match.group("np")


def _yes_there_is(match: re.Match[str]) -> Iterator[Found]:
    part = _part(match.group("np"))
    answer = _capital("no", match.group("answer"))
    verb = match.group("verb")
    yield (
        match.start("answer"),
        match.end("np"),
        f"{answer}{match.group('between')}{verb} no {_denied(part)}",
        part.words,
    )


def _no_there_is_no(match: re.Match[str]) -> Iterator[Found]:
    part = _part(match.group("np"))
    answer = _capital("yes", match.group("answer"))
    evidence = match.group("evidence") or ""
    phrase = f"{evidence}{part.words}" if evidence else _with_article(part)
    words = f"{answer}{match.group('between')}{match.group('verb')} {phrase}"
    yield match.start("answer"), match.end("np"), words, part.words


_EVIDENCE = r"(?P<evidence>(?:radiographic |definite |clear |any )?(?:evidence|signs?) of )?"
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
_RULES: tuple[Rule, ...] = (
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
    (rf"(?:the\s+)?(?P<np>PHRASE)\s+(?:is|are|was|were)\s+(?P<not>not\s+)SEENPLACE{_END}", _not_seen),
    (r"(?P<np>PHRASE)PLACE\s*\.\s*\Z", _fragment),
)
_INSIDE: tuple[Rule, ...] = (
    (
        rf"\bwithout (?:an? |any )?{_EVIDENCE}(?P<np>PHRASE){_ALONE}",
        _without,
    ),
    (
        rf"\b(?:shows?|demonstrates?|reveals?|has|have|with) (?P<no>no ){_EVIDENCE}(?P<np>PHRASE){_ALONE}",
        _shows_no,
    ),
    (rf"(?<=\w )with (?P<det>an? )?(?P<np>PHRASE){_END}", _with),
)


def presences(text: str, question: str | None, asks: Asked) -> Iterator[Fact]:
    """Yield what a text says to be there, not there, normal or abnormal, with its contrary."""
    whole = _CLOSED.fullmatch(text)
    if whole:
        yield _contrary(whole, {"yes": "no", "no": "yes"}, asks.closed)
        return
    whole = _CHOICE.fullmatch(text)
    if whole:
        yield _contrary(whole, {"normal": "abnormal", "abnormal": "normal"}, "presence")
        return
    reports = question is None or "presence" in asks.kinds or len(list(sentences(text))) > 1
    for start, end in sentences(text):
        sentence = text[start:end]
        if is_hedged(sentence):
            continue
        for low, high, words, value in _in_sentence(sentence, reports):
            yield Fact(
                start + low,
                start + high,
                "presence",
                value,
                (Alternative(f"not {value}", start + low, start + high, words),),
            )
        if not re.match(r"\W*(yes|no)\b", sentence, re.IGNORECASE):
            yield from _states(text, start, end)


def _contrary(match: re.Match[str], contraries: dict[str, str], kind: str) -> Fact:
    word = match.group("word")
    other = contraries[word.lower()]
    other = other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other
    start, end = match.span("word")
    return Fact(start, end, kind, word.lower(), (Alternative(other.lower(), start, end, other),))


def _in_sentence(sentence: str, reports: bool) -> Iterator[Found]:
    for pattern, write in _RULES:
        match = _pattern(pattern).fullmatch(sentence)
        if match and (reports or write is not _fragment):
            yield from write(match)
            return
    for pattern, write in _INSIDE:
        for match in _pattern(pattern).finditer(sentence):
            # "No, the film shows no effusion": the answer would contradict the rest.
            # So would "normal lungs with abnormalities".
            vague = states_normal(sentence) and "abnormalit" in match.group("np").lower()
            if not vague and not re.match(r"\W*(yes|no)\b", sentence, re.IGNORECASE):
                yield from write(match)


@cache
def _predicate() -> re.Pattern[str]:
    words = either([state.was for state in presence().states])
    return re.compile(
        r"(?P<subject>\w[\w /-]*?)\s+(?:is|are|appears?|remains?|looks?)\s+(?:to\s+be\s+)?"
        r"(?:(?:grossly|otherwise|overall|both)\s+)?"
        rf"(?P<state>{words})(?=\s*[.,;]|\s*\Z|\s+bilaterally"
        r"|\s+and\s+(?!texture|shape|contour|config|position|appear|morph|calib|number|size))",
        re.IGNORECASE,
    )


def _states(text: str, first: int, last: int) -> Iterator[Fact]:
    """Yield the predicates of normality of one sentence."""
    for match in _predicate().finditer(text, first, last):
        start, end = match.span("state")
        # "It is normal, without an effusion" would contradict itself.
        if is_denied(text, start) or re.search(r"\b(no|not|without)\b", text[end:last], re.IGNORECASE):
            continue
        said = match.group("state")
        fitting = [
            state
            for state in presence().states
            if state.was == said.lower()
            and re.search(rf"(?:{state.of})\Z", match.group("subject"), re.IGNORECASE)
        ]
        if fitting:
            # The first that fits the subject: lungs that are not clear are opacified.
            now = fitting[0].now
            yield Fact(start, end, "presence", said, (Alternative(now, start, end, now),))
