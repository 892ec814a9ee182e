"""Whether an answer says yes or no: read from whole words, with negation, and never guessed."""

import re
from enum import Enum

from medpref.evaluation.scores.plain import addresses_the_scorer, plain, without_lead
from medpref.evaluation.scores.text import normalise


class Polarity(Enum):
    """What an answer to a yes/no question says."""

    YES = "yes"
    NO = "no"
    NEITHER = "neither"
    BOTH = "both"


_CONTRACTIONS = (
    (re.compile(r"\bcan['’]?t\b"), "cannot"),
    (re.compile(r"n['’]t\b"), " not"),
    (re.compile(r"\b(is|are|was|were|do|does|did|has|have)nt\b"), r"\1 not"),
)
_NUMERO = re.compile(r"\bnos?\.\s*(?=\d)")
# Phrases in which "no" or "not" denies nothing.
_IDIOM = re.compile(
    r"\bno (?:doubt|question|problem)\b|\bno (?:more|less|fewer|greater|larger|smaller) than\b"
    r"|\bnot (?:only|just|merely|limited)\b|\bwith (?:and|or|and/or) without\b"
    r"|\bwithout (?:an?y? )?(?:doubt|question)\b|\bnone (?:other )?than\b"
)
# The question's own "answer yes or no", and its list of choices, repeated.
_TASK = re.compile(
    r"\b(?:please\s+)?(?:answer|reply|respond)\b[^.!?\n:]{0,40}\byes\s*(?:or|/)\s*no\b(?:\s+only)?[.:]?"
    r"|\b(?:options|choices)\s*:[^\n]*?(?=\banswer\s*:|\n|$)"
)
# A model that runs on asks itself the next question.
_TURN = re.compile(r"\b(question|q|user|human)\s*:")
# What a first sentence of one word or two says.
_WHOLE = {
    **dict.fromkeys(
        ("y", "true", "correct", "positive", "affirmative", "definitely", "certainly"), Polarity.YES
    ),
    **dict.fromkeys(("absolutely", "sure", "indeed", "likely", "probably", "of course"), Polarity.YES),
    **dict.fromkeys(("i think so", "i believe so", "that is correct", "that is true"), Polarity.YES),
    **dict.fromkeys(("very likely", "most likely", "most probably"), Polarity.YES),
    **dict.fromkeys(("n", "false", "incorrect", "negative", "nil"), Polarity.NO),
    **dict.fromkeys(("that is incorrect", "that is false"), Polarity.NO),
}

_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
# A sentence that opens with a verb asks, unless it is an ellipsis of the subject ("is not present").
_ASKS = re.compile(
    r"^\W*(?:(?:question|q|user|human)\s*[:.]\s*)?"
    r"(?:(?:(?:in|on|from|to|at)\s+)?(?:what|where|which|who|whose|why|how)\b|any\b"
    r"|(?:is|are|was|were|do|does|did|can|could|would|should|will)\b"
    r"(?!\s+(?:not?|be|present|absent|seen|visible|noted|identified|observed|evident|visuali[sz]ed)\b))"
)
_ABSTAINS = re.compile(
    r"\b(?:maybe|perhaps|possib\w+|unsure|uncertain\w*|unclear|unknown|inconclusive|indeterminate|if|whether)\b"
    r"|\bcan ?not\b|\b(?:un|not )able\b|\bimpossible\b|\bdifficult to\b"
    r"|\b(?:do|does) not (?:know|provide|contain enough)\b|\bi do not have\b|\bhard to\b"
    r"|\bnot have (?:enough|sufficient|any information|access|the ability)\b"
    r"|\bnot (?:sure|certain|clear|possible|known|enough|sufficient|well|specified|applicable|available)\b"
    r"|\bno (?:idea|clue|way|answer|opinion|comment|information)\b|\brule[sd]? out\b"
)

_YES = re.compile(r"(?<![\w-])(?:yes|yeah|yep|yup)(?![\w-])")
_DENIED_YES = re.compile(
    r"\b(?:not|never)\s+(?:\w+\s+){0,2}yes\b|\b(?:false|wrong|incorrect)\s+(?:\w+\s+){0,2}yes\b"
    r"|\bno\s+(?:\w+\s+){1,2}(?:of|for|that|to say)\s+(?:an?\s+)?yes\b"
)
_DENIED_NO = re.compile(r"\b(?:not|never)\s+(?:an?\s+)?no\b")
_LEADING_NO = re.compile(r"^\W*(?:no|nope|nah)(?![\w-])")
# Elsewhere "no" is an answer only where no noun follows it: in "there is no fracture" it belongs to the noun.
_STANDALONE_NO = re.compile(
    r"(?<![\w-])(?:no|nope|nah)(?=\s*(?:[^\w\s-]|$)"
    r"|\s+(?:but|because|since|there|this|that|it|the|i|yes)\b|\s+\d+\s*%)"
)
_JOINED = r"(?:\s*[/&|-]\s*|\s+(?:(?:and|or|nor|and/or|vs|versus)\s+)?)"
_YES_WITH_NO = re.compile(rf"\byes{_JOINED}no\b|\bno{_JOINED}yes\b")
# Spanish and Portuguese sentences open with "no" too, in Portuguese for "in the".
_NOT_ENGLISH = re.compile(
    r"^\W*no\s+(?:hay|se|es|son|est[aá]n?|existen?|tiene|presenta|puedo|lo|la|el|lado|lobo|pulm[aã]o|t[oó]rax)\b"
)

_CLAUSE = re.compile(
    r"[,;:()]|\b(?:but|however|although|though|whereas|while|yet|except)\b|(?=\bwithout\b)"
    r"|\b(?:and|with)\b(?=\s+no\b)"
)
_DOUBLE_NEGATION = re.compile(
    r"\bnot\s+(?:\w+ly\s+)?(?:absent|without|free of|devoid of|negative|unlikely|no)\b"
)
_DENIES = re.compile(
    r"\b(?:no|not)\s+\w|\w\s+not$(?<!\bor not)|\bunlikely\b|\bnever\b"
    r"|\bnone\b(?! of)|\bneither\b(?=\s+\w)|\bwithout\b|\babsent\b|\babsence of\b"
    r"|\black(?:s|ing|\s+of)\b|\bnegative for\b|\b(?:free|devoid) of\b"
)
_AFFIRMS = re.compile(
    r"\bthere(?:['’]s| is| are| was| were| (?:appears?|seems?) to be)\b"
    r"|\b(?:is|are|was|were|be|been)\s+(?:\w+\s+){0,2}"
    r"(?:present|seen|visible|visuali[sz]ed|noted|identified|observed|evident|demonstrated|detected|apparent)\b"
    r"|\bpositive for\b|^(?:it|they|this|that|he|she)\s+(?:is|are|was|were|do|does|did|has|have)$"
    r"|(?<!\bat )\bpresent(?=\s*$|\s+(?:in|on|at|within|along|near|bilaterally|throughout|here)\b)"
)


def polarity(text: str) -> Polarity:
    """Tell whether `text`, an English answer to a yes/no question, says yes, no, neither or both.

    An explicit yes or no decides, wherever the rest leads: "Yes, there is no pneumothorax" says yes. Both of
    them say both. Without either, the sentences decide: denials ("no evidence of", "absent", "without") say
    no, clear statements ("there is", "is seen", "present") say yes, one of each says both. A short answer
    that stands for either ("negative", "it does") counts as such. Questions, doubts, other languages and
    words addressed to the scorer say neither. Markup, thinking aloud and JSON are removed first.

    Args:
        text: the answer as generated, of any length; the first 10,000 characters are read.
    """
    text = _spelled_out(plain(text))
    if addresses_the_scorer(text):
        return Polarity.NEITHER
    statements = [s for s in _SENTENCE.findall(text) if not s.endswith("?") and not _ASKS.match(s)]
    found = _explicit(statements) or _stated(statements)
    return _COMBINED[frozenset(found)]


_COMBINED = {
    frozenset[Polarity](): Polarity.NEITHER,
    frozenset({Polarity.YES}): Polarity.YES,
    frozenset({Polarity.NO}): Polarity.NO,
    frozenset({Polarity.YES, Polarity.NO}): Polarity.BOTH,
}


def _spelled_out(text: str) -> str:
    """Return a plain text without contractions, idioms and what it repeats of the question."""
    for contracted, full in _CONTRACTIONS:
        text = contracted.sub(full, text)
    text = _NUMERO.sub("number ", _TASK.sub(" ", text))
    return _IDIOM.sub(" ", _TURN.sub(r"\n\1:", text)).strip()


def _explicit(statements: list[str]) -> set[Polarity]:
    """Return the polarities said by the words yes and no themselves."""
    found: set[Polarity] = set()
    for position, statement in enumerate(statements):
        answer = _DENIED_NO.sub(" ", without_lead(statement))
        leads_no = position == 0 and _leads_with_no(answer)
        if _ABSTAINS.search(answer) and not (leads_no or (position == 0 and _YES.match(answer))):
            continue
        if _YES_WITH_NO.search(answer):
            return {Polarity.YES, Polarity.NO}
        if _YES.search(answer) and not _DENIED_YES.search(answer):
            found.add(Polarity.YES)
        if leads_no or _STANDALONE_NO.search(answer):
            found.add(Polarity.NO)
    return found


def _leads_with_no(answer: str) -> bool:
    lead = _LEADING_NO.match(answer)
    abstains = _ABSTAINS.match(answer)  # "no idea" begins with no, and says nothing
    return lead is not None and abstains is None and _NOT_ENGLISH.match(answer) is None


def _stated(statements: list[str]) -> set[Polarity]:
    """Return the polarities of the sentences, for an answer without a yes or a no of its own."""
    decided = [s for s in statements if not _ABSTAINS.search(s) and not _NOT_ENGLISH.match(s)]
    clauses = [clause.strip(" .!") for s in decided for clause in _CLAUSE.split(s)]
    clauses = [clause for clause in clauses if not _DOUBLE_NEGATION.search(clause)]
    denied = {Polarity.NO for clause in clauses if _DENIES.search(clause)}
    affirmed = {Polarity.YES for c in clauses if _AFFIRMS.search(c) and not _DENIES.search(c)}
    whole = _WHOLE.get(normalise(without_lead(statements[0]))) if statements else None
    return denied | affirmed | ({whole} if whole else set())
