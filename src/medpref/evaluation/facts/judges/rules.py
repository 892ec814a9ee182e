"""A judge that needs no model: shared findings and words, their negation, and values that exclude another.

A baseline, and a weak one: it reads one clause at a time and knows no paraphrase beyond its lists. A fact and
a clause are compared where they speak of the same finding (or, without a known finding, share half of the
fact's words). One of them denied and the other not, or values of one kind that exclude each other (sides,
sizes, modalities, measurements), is a contradiction; otherwise the share of the fact that is said decides.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

from medpref.evaluation.facts.judges.base import Item, Judge, JudgeKind, Judgement, JudgeSettings, judges
from medpref.evaluation.facts.labels import Label
from medpref.evaluation.scores.text import fold, normalise, tokens
from medpref.pairs.edits.lists import presence, terms
from medpref.pairs.edits.mentions import stated

VERSION = 1
WHOLE, PART = 0.8, 0.4
"""From these shares of a fact's words and values on it is entailed, or partially entailed."""
_LONGEST = 20_000
_EXCLUSIVE = frozenset(
    {"side", "vertical", "zone", "modality", "plane", "severity", "size", "intensity", "shape", "colour"}
)
_SENTENCE = re.compile(r"(?<=[.!?;])\s|\n|;")
_CLAUSE = re.compile(
    r",?\s+(?:but|however|although|though|while|whereas|except)\s+|,?\s+(?:and|with)\s+(?=no\b|without\b)"
    r"|\s+(?=without\b)|,\s+(?=(?:no|there|the)\b)",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"\b(?:no|not|never|none|neither|nor|without|absent|absence of|free of|negative for|lack of|lacks"
    r"|rather than|ruled out|excluded|resolved|denies)\b|n['’]t\b",
    re.IGNORECASE,
)
_MEASURE = re.compile(r"(\d+(?:\.\d+)?)\s*(mm|cm)\b", re.IGNORECASE)
_HEDGE = re.compile(
    r"\b(?:possibl[ey]|probabl[ey]|may|might|could|suspected|suspicious|likely|suggest\w*|questionable|cannot)\b",
    re.IGNORECASE,
)

Value = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Statement:
    """What one clause says.

    Attributes:
        findings: the known findings that it names.
        words: its other words, synonyms made one.
        values: (kind, value) of sides, sizes, modalities and the like, and measurements in mm.
        denied: whether it is said not to be so.
        hedged: whether it is left open.
    """

    findings: frozenset[str]
    words: frozenset[str]
    values: frozenset[Value]
    denied: bool
    hedged: bool


@cache
def _lists() -> Mapping[str, Any]:
    text = (files("medpref.evaluation.facts.judges") / "rules.yaml").read_text("utf-8")
    lists: Mapping[str, Any] = yaml.safe_load(text)
    return lists


@cache
def _rewrites() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern, re.IGNORECASE), text) for pattern, text in _lists()["rewrites"])


@cache
def _synonyms() -> dict[str, str]:
    return {word: name for name, words in _lists()["synonyms"].items() for word in words}


@cache
def _hollow() -> frozenset[str]:
    return frozenset(form for word in _lists()["hollow"] for form in (word, _canonical(word)))


@cache
def _findings() -> frozenset[str]:
    """Return the nouns of findings, one word each: of "pleural effusion" the last."""
    listed = [finding.one for finding in presence().findings] + list(_lists()["findings"])
    return frozenset(_canonical(name.split()[-1]) for name in listed) - {"disease", "process", "body", "air"}


@cache
def _value_words() -> frozenset[str]:
    """Return the words of the vocabularies' values: they count as values and not as words."""
    spoken = (
        word
        for listed in terms()
        if listed.kind in _EXCLUSIVE
        for group in listed.groups
        for slots in group.concepts.values()
        for words in slots.values()
        for word in words
    )
    return frozenset(part for word in spoken for part in tokens(word))


def _canonical(word: str) -> str:
    if word in _synonyms():
        return _synonyms()[word]
    single = (
        word[:-1] if len(word) > 4 and word.endswith("s") and not word.endswith(("ss", "is", "us")) else word
    )
    return _synonyms().get(single, single)


def read_statements(text: str) -> list[Statement]:
    """Return what the clauses of a text say, in their order; the first 20,000 characters are read."""
    return [statement for clause in _clauses(fold(text[:_LONGEST])) if (statement := _read(clause))]


def _clauses(text: str) -> Iterator[str]:
    # Blanks in a row would be tried at each of them.
    text = re.sub(r"[^\S\n]+", " ", text)
    for pattern, meaning in _rewrites():
        text = pattern.sub(meaning, text)
    for sentence in _SENTENCE.split(text):
        yield from (clause for clause in _CLAUSE.split(sentence) if clause and clause.strip())


def _read(clause: str) -> Statement | None:
    words = {_canonical(word) for word in tokens(clause)} - _hollow()
    findings = words & _findings()
    measures = {
        ("measure", f"{float(n) * (10 if unit == 'cm' else 1):g}") for n, unit in _MEASURE.findall(clause)
    }
    counts = {("count", word) for word in tokens(_MEASURE.sub(" ", clause)) if word.isdigit()}
    denied = _DENIAL.search(clause) is not None
    named = {(kind, name) for kind, name in stated([clause]) if kind in _EXCLUSIVE and name not in findings}
    if denied and ("side", "bilateral") in named:
        # What both sides lack is lacking.
        named = {(kind, name) for kind, name in named if kind != "side"}
    values = named | measures | counts
    rest = {word for word in words - findings - _value_words() if not re.fullmatch(r"[\d.]+|mm|cm", word)}
    if not (findings or rest or values):
        return None
    return Statement(
        frozenset(findings), frozenset(rest), frozenset(values), denied, _HEDGE.search(clause) is not None
    )


class Said(NamedTuple):
    """What a text says: its sentences, normalised, and the statements of their clauses."""

    sentences: frozenset[str]
    statements: tuple[Statement, ...]


def read_text(text: str) -> Said:
    """Return what a text says; the first 20,000 characters are read."""
    sentences = (normalise(sentence) for sentence in _SENTENCE.split(text[:_LONGEST]))
    return Said(frozenset(sentences) - {""}, tuple(read_statements(text)))


def label_fact(fact: str, said: Said) -> Label:
    """Return the label of a fact by what a text says.

    A fact that is one of the text's sentences is entailed. A fact of several clauses is entailed where all of
    them are, and contradicted where one is.
    """
    if normalise(fact) in said.sentences:
        return Label.ENTAILMENT
    labels = [_label(statement, said.statements) for statement in read_statements(fact)]
    if not labels:
        return Label.NEUTRAL
    if Label.CONTRADICTION in labels:
        return Label.CONTRADICTION
    if len(set(labels)) == 1:
        return labels[0]
    return Label.PARTIAL


def _label(fact: Statement, said: Sequence[Statement]) -> Label:
    found = {_compare(fact, clause) for clause in said}
    # A text that says it once says it, whatever else it says of other places.
    order = (Label.ENTAILMENT, Label.CONTRADICTION, Label.PARTIAL)
    return next((label for label in order if label in found), Label.NEUTRAL)


def _compare(fact: Statement, clause: Statement) -> Label:
    match = _same_subject(fact, clause)
    if match is None:
        return Label.NEUTRAL
    conflict = _conflicts(fact.values, clause.values)
    if fact.denied != clause.denied:
        return _opposed(fact, clause, conflict)
    if fact.denied:
        # What is denied of the whole is denied of its parts, and not the other way round.
        if conflict or clause.values - fact.values:
            return Label.PARTIAL if not conflict and match >= PART else Label.NEUTRAL
        return Label.ENTAILMENT if match == 1 or not clause.words - fact.words else Label.PARTIAL
    if conflict:
        return Label.NEUTRAL if clause.hedged else Label.CONTRADICTION
    share = _share(fact, clause, match)
    if share >= WHOLE and (fact.hedged or not clause.hedged):
        return Label.ENTAILMENT
    return Label.PARTIAL if share >= PART else Label.NEUTRAL


def _opposed(fact: Statement, clause: Statement, conflict: bool) -> Label:
    """Return the label where one of the two denies: "no large effusion" does not deny a small one."""
    denying, asserting = (fact, clause) if fact.denied else (clause, fact)
    if conflict or denying.values - asserting.values or clause.hedged:
        return Label.NEUTRAL
    return Label.CONTRADICTION


def _same_subject(fact: Statement, clause: Statement) -> float | None:
    """Return the share of the fact's findings that a clause speaks of; None where it is about others."""
    if fact.findings:
        shares = [
            max((_covers(name, other, fact) for other in clause.findings), default=0)
            for name in fact.findings
        ]
        return sum(shares) / len(shares) if any(shares) else None
    if fact.words:
        shared = len(fact.words & clause.words) / len(fact.words)
        return 1.0 if shared >= 0.5 and (not clause.findings or shared == 1) else None
    kinds = {kind for kind, _ in fact.values}
    return 1.0 if kinds and kinds <= {kind for kind, _ in clause.values} else None


def _covers(name: str, other: str, fact: Statement) -> float:
    """Return 1 where what is said of `other` holds of `name`, 0.5 in part, 0 where it does not."""
    kinds = _lists()["kinds"]
    if name == other:
        return 1.0
    narrower, broader = other in kinds.get(name, ()), name in kinds.get(other, ())
    if narrower:
        return 0.5 if fact.denied else 1.0
    return (1.0 if fact.denied else 0.5) if broader else 0.0


def _conflicts(fact: frozenset[Value], clause: frozenset[Value]) -> bool:
    """Tell whether a kind has values on both sides, and none in common."""
    return any(
        {v for k, v in fact if k == kind}.isdisjoint({v for k, v in clause if k == kind})
        for kind in {kind for kind, _ in fact} & {kind for kind, _ in clause}
    )


def _share(fact: Statement, clause: Statement, match: float) -> float:
    """Return how much of a fact a clause says: findings count twice, since the rest is about them."""
    whole = 2 * len(fact.findings) + len(fact.words) + len(fact.values)
    said = 2 * len(fact.findings) * match + len(fact.words & clause.words) + len(fact.values & clause.values)
    return said / whole


class RulesJudge(Judge):
    """The rules as a judge."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """The rules' version."""
        return {"judge": "rules", "version": VERSION}

    def judge(self, items: Sequence[Item]) -> Iterator[Judgement]:
        """Yield a judgement for each item, in order."""
        for item in items:
            said = read_text(item.text)
            yield Judgement.of(item, [label_fact(fact, said) for fact in item.facts])


judges.add(
    "rules",
    JudgeKind(
        "shared findings and words, with negation: needs nothing", JudgeSettings, lambda _: RulesJudge()
    ),
)
