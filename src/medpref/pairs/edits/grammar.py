"""As much English grammar as a changed word needs: capitals, articles, number, clauses."""

import re
from collections.abc import Iterator

from medpref.pairs.edits.lists import numbers

# Letters whose names begin with a vowel, for acronyms that are spelt out: an MRI, an X-ray, a CT.
_VOWEL_LETTERS = frozenset("AEFHILMNORSX")
_CONSONANT_SOUND = re.compile(r"(u[- ]|u-shaped|uni|ure|uro|use|eu|one\b|once)", re.IGNORECASE)
# The headings of a report end like sentences: "FINDINGS: The heart ...".
_SENTENCE_END = re.compile(r"(?<=[.!?;])(?<!\bvs\.)\s+|\n+|(?<=:)\s+(?=[A-Z0-9])")
_CLAUSE_START = re.compile(r",\s+and\s+(?=(?:the|there|both|no)\b)", re.IGNORECASE)
_NEGATION = re.compile(
    r"\b(no(?! (?:significant |interval )*change)|not|without|nor|neither|never|absence of|negative for"
    r"|free of|rather than|denies|ruled? out|n't|evaluat(?:e|ion) for|concern for|question of|history of"
    r"|status post|removal of|lack of|loss of|resolution of|resolved|no longer|absent|exclude[sd]?)\b",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(
    r"[.;:?!](?=\s|$)|\n|,\s+and\s+(the|there|both)\b|,?\s+\b(but|however|although|though|except|while|whereas)\b"
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_GONE = re.compile(
    r"\b((has|have|had)\s+(\w+\s+)?(resolved|disappeared|cleared)|no longer|(is|are|was|were) (absent|not)"
    r"|(ruled out|excluded|evaluated for|assess\w* for))\b",
    re.IGNORECASE,
)
_EXPLAINS = re.compile(
    r",\s+(which|indicating|meaning|suggesting|characterized by|causing)\b|\b(this|it) means\b", re.IGNORECASE
)
# What is explained behind it would contradict another value.
_MEANS = re.compile(r"\b(which|this) (means?|indicates?)\b|\bmeaning\b|\bthroughout\b", re.IGNORECASE)
_USUAL = re.compile(
    r"\b(can|typically|usually|generally|commonly|often|refers? to|is called)\b", re.IGNORECASE
)
_HEDGE = re.compile(
    r"\b(may|might|could|can(not|'t)? be|possibl[ey]|probabl[ey]|likely|suggest\w*|suspicious for|suspected"
    r"|question|questionable|versus|vs|differential|cannot|if|whether|recommend\w*|consider|compared|history|prior"
    r"|previous\w*|would|should|not sure|unclear|uncertain|maybe)\b|\?",
    re.IGNORECASE,
)
_STATES_NORMAL = re.compile(
    r"\b(clear|normal|(?:is|are|remains?|in) midline(?! shift)|normally|unremarkable|intact|patent|healthy"
    r"|within normal limits|preserved|non-?dilated|well[- ](expanded|inflated|aerated))\b",
    re.IGNORECASE,
)


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the sentences of `text`, the blanks between them left out."""
    start = 0
    for gap in _SENTENCE_END.finditer(text):
        if gap.start() > start:
            yield start, gap.start()
        start = gap.end()
    if start < len(text):
        yield start, len(text)


def clauses(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the main clauses of the sentence from `start` to `end`."""
    for joint in _CLAUSE_START.finditer(text, start, end):
        yield start, joint.start()
        start = joint.end()
    yield start, end


def sentence_around(text: str, place: int) -> tuple[int, int]:
    """Return (start, end) of the sentence that holds the character at `place`."""
    for start, end in sentences(text):
        if start <= place < end:
            return start, end
    return 0, len(text)


def is_denied(text: str, start: int) -> bool:
    """Tell whether the words at `start` stand in the scope of a negation: after it, in the same clause.

    What has gone, or is excluded behind it, is denied too.
    """
    first, last = sentence_around(text, start)
    before, behind = text[first:start], text[start:last]
    gone = _GONE.search(behind)
    if gone and _CLAUSE_END.search(behind, 0, gone.start()) is None:
        return True
    denials = list(_NEGATION.finditer(before))
    return bool(denials) and _CLAUSE_END.search(before, denials[-1].end()) is None


def is_hedged(sentence: str) -> bool:
    """Tell whether a sentence leaves open what is so, or speaks of another time."""
    return _HEDGE.search(sentence) is not None


def explains(text: str, place: int) -> bool:
    """Tell whether the words at `place` explain a term or tell what is usual, rather than what is seen."""
    start, end = sentence_around(text, place)
    if _MEANS.search(text, place, end):
        return True
    return _EXPLAINS.search(text, start, place) is not None or _USUAL.search(text, start, end) is not None


def states_normal(sentence: str) -> bool:
    """Tell whether a sentence states that something is normal: what it says may hold elsewhere too."""
    return _STATES_NORMAL.search(sentence) is not None


def article(words: str) -> str:
    """Return the indefinite article that stands before `words`."""
    first = words.strip()
    head = re.split(r"[\s/-]", first, maxsplit=1)[0]
    if head.isupper() and not re.match(r"(CT|FLAIR|PET|DWI|PICC|CAT|SAGITTAL)", head):
        return "an" if head[0] in _VOWEL_LETTERS else "a"
    if _CONSONANT_SOUND.match(first) and not first.lower().startswith(("unin", "unid", "unim", "unimp")):
        return "a"
    return "an" if first[:1].lower() in "aeiou" or first.lower().startswith("x-ray") else "a"


def like(original: str, new: str, *, starts: bool, acronym: bool = False) -> str:
    """Return `new` in the case of `original`: all capitals, every word capitalised, or as it is written.

    Args:
        original: the words of the text.
        new: the words of the vocabulary, whose own capitals are acronyms and names.
        starts: whether the words begin a sentence.
        acronym: whether the original is written with capitals wherever it stands.
    """
    letters = [letter for letter in original if letter.isalpha()]
    if acronym:
        return new[:1].upper() + new[1:] if starts and original[:1].isupper() else new
    if letters and all(letter.isupper() for letter in letters) and not new[:1].isupper() and len(letters) > 3:
        return new.upper()
    words = original.split()
    titled = len(words) > 0 and all(word[:1].isupper() for word in words) and not original.isupper()
    if titled and not (starts and len(words) == 1) and len(new.split()) > 1:
        return " ".join(word[:1].upper() + word[1:] for word in new.split())
    if (titled or starts) and original[:1].isupper():
        return new[:1].upper() + new[1:]
    return new


def plural(noun: str) -> str:
    """Return the plural of a noun, or of the last word of several."""
    *before, last = noun.split(" ")
    irregular = numbers().irregular.get(last.lower())
    if irregular:
        last = irregular
    elif re.search(r"[^aeiou]y$", last):
        last = last[:-1] + "ies"
    else:
        last += "es" if re.search(r"(s|x|ch|sh)$", last) else "s"
    return " ".join([*before, last])


def starts_sentence(text: str, place: int) -> bool:
    """Tell whether nothing but marks and blanks stands before `place` in its sentence."""
    return re.search(r"(^|[.!?:]\s+|\n\s*)[\s\"'(]*$", text[:place]) is not None


def in_capitals(text: str, place: int) -> bool:
    """Tell whether the sentence around `place`, or the text if that is one word, is in capitals only."""
    start, end = sentence_around(text, place)
    said = text[start:end] if len(_WORD.findall(text[start:end])) > 1 else text
    words = _WORD.findall(said)
    return sum(len(word) for word in words) > 7 and len(words) > 1 and said.isupper()
