"""Edits by rules: a table of cases written by hand, and what holds for every text."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from medpref.pairs.edits import ERROR_KINDS, MEDHEVAL_KINDS, Edit, edit, error_kinds, find_facts
from medpref.pairs.edits.lists import TermGroup, terms

TABLE = yaml.safe_load((Path(__file__).parent / "edit_cases.yaml").read_text(encoding="utf-8"))
CASES = [
    (kind, text, question or None, results) for kind in TABLE for text, question, *results in TABLE[kind]
]
TEXTS = sorted({(text, question) for _, text, question, _ in CASES}, key=str)
CHANGED = [case for case in CASES if case[3]]
SAFE = [case for case in CASES if not case[3]]


def edited(text: str, question: str | None = None, seed: int = 0, **settings: object) -> Edit | None:
    return edit(text, question, np.random.default_rng(seed), **settings)


def results(kind: str, text: str, question: str | None) -> list[str]:
    facts = [fact for fact in find_facts(text, question) if fact.kind == kind]
    return sorted({one.applied_to(text) for fact in facts for one in fact.alternatives})


def test_the_table_is_large_and_covers_all_kinds() -> None:
    assert len(CASES) >= 150
    assert len(SAFE) >= 30
    assert {kind for kind, *_ in CHANGED} == set(ERROR_KINDS) == set(TABLE)


@pytest.mark.parametrize(("kind", "text", "question", "allowed"), CASES)
def test_the_table(kind: str, text: str, question: str | None, allowed: list[str]) -> None:
    # A closed question about technique is an error of its kind; the table lists it there.
    assert results(kind, text, question) == sorted(allowed)


def test_a_draw_gives_one_of_the_results_and_its_kind() -> None:
    for kind, text, question, allowed in CHANGED:
        for seed in range(3):
            made = edited(text, question, seed, kinds=[kind])
            assert made is not None
            assert made.text in allowed
            assert made.change.error == kind


def test_nothing_is_drawn_where_nothing_may_be_changed() -> None:
    for kind, text, question, _ in SAFE:
        assert edited(text, question, kinds=[kind]) is None


cases = st.sampled_from(TEXTS)
# Sentences that do not speak to each other's facts, joined to a report.
reports = st.lists(cases, min_size=1, max_size=4, unique=True).map(
    lambda drawn: " ".join(t for t, _ in drawn)
)
texts = st.one_of(cases, reports.map(lambda text: (text, None)))
seeds = st.integers(0, 2**32 - 1)


@given(texts, seeds)
def test_only_the_span_differs(case: tuple[str, str | None], seed: int) -> None:
    text, question = case
    made = edited(text, question, seed)
    if made is None:
        return
    change = made.change
    assert made.text != text
    assert change.was != change.now
    assert made.text[change.start : change.end] == change.now
    assert text[: change.start] == made.text[: change.start]
    assert text == made.text[: change.start] + change.was + made.text[change.end :]
    assert change.error in ERROR_KINDS


@given(texts, seeds)
def test_the_same_seed_gives_the_same_edit(case: tuple[str, str | None], seed: int) -> None:
    assert edited(*case, seed) == edited(*case, seed)


@given(texts)
def test_facts_lie_in_the_text_in_order(case: tuple[str, str | None]) -> None:
    text, question = case
    facts = find_facts(text, question)
    assert [(fact.start, fact.end) for fact in facts] == sorted((fact.start, fact.end) for fact in facts)
    for fact in facts:
        assert 0 <= fact.start < fact.end <= len(text)
        assert fact.kind in ERROR_KINDS
        for one in fact.alternatives:
            assert 0 <= one.start <= one.end <= len(text)
            assert one.applied_to(text) != text


@given(st.text(max_size=80), st.one_of(st.none(), st.text(max_size=30)), seeds)
def test_any_text_is_read(text: str, question: str | None, seed: int) -> None:
    made = edited(text, question, seed)
    assert made is None or made.text != text


@given(texts, seeds, st.sampled_from(ERROR_KINDS))
def test_only_the_kinds_that_are_named(case: tuple[str, str | None], seed: int, kind: str) -> None:
    made = edited(*case, seed, kinds=[kind])
    assert made is None or made.change.error == kind


REVERSIBLE = {
    "side": ("A nodule in the left lung.", "Right-sided mass.", "left"),
    "vertical": ("Left upper lobe nodule.", "An apical mass.", "Above the carina."),
    "intensity": ("A hypodense mass.", "An opacity.", "bright"),
    "size": ("A large mass.", "small"),
    "shape": ("A cystic mass.", "Diffuse opacities."),
}


@pytest.mark.parametrize(
    ("kind", "text"), [(kind, text) for kind, many in REVERSIBLE.items() for text in many]
)
def test_a_second_edit_takes_the_first_back(kind: str, text: str) -> None:
    once = edited(text, kinds=[kind])
    assert once is not None
    twice = edited(once.text, kinds=[kind])
    assert twice is not None
    assert twice.text == text


def test_what_else_is_true_is_no_error() -> None:
    assert edited("left", "Which side?", avoid=["The right lung is opacified."]) is None
    assert edited("CT", "What is the modality?", avoid=["MRI or X-ray", "a sonogram"]) is None
    assert edited("left", "Which side?", avoid=["bilateral effusions"]) is None
    assert edited("Yes", "Is there a mass?", avoid=["no"]) is not None


def test_what_the_question_asks_for_is_changed_first() -> None:
    text = "A large hypodense mass in the left lobe."
    for seed in range(5):
        for question, kind in (
            ("Where is the mass?", "side"),
            ("How large is the mass?", "size"),
            ("What is the density of the mass?", "intensity"),
        ):
            made = edited(text, question, seed)
            assert made is not None
            assert made.change.error == kind


def test_weights_choose_among_the_facts() -> None:
    text = "A large hypodense mass in the left lobe."
    drawn = [edited(text, seed=seed, weights={"size": 0, "side": 3}) for seed in range(200)]
    kinds = [made.change.error for made in drawn if made is not None]
    assert len(kinds) == 200
    assert "size" not in kinds
    assert kinds.count("side") > kinds.count("intensity") > 0


def test_what_is_seen_is_changed_before_how_it_was_taken() -> None:
    for seed in range(10):
        made = edited("Axial CT of the brain with a hypodense mass.", seed=seed, kinds=None)
        assert made is not None
        assert made.change.error not in ("modality", "plane")


def test_known_answers_are_preferred() -> None:
    for seed in range(10):
        made = edited("one", "How many lesions are there?", seed, prefer=["three", "five"])
        assert made is not None
        assert made.text == "three"


def groups() -> Iterator[tuple[str, TermGroup]]:
    for listed in terms():
        for group in listed.groups:
            yield listed.kind, group


def test_no_alternative_is_a_synonym_or_a_whole_or_a_part() -> None:
    for kind, group in groups():
        related = {frozenset(pair) for pair in group.related}
        for value, others in (group.opposites or {}).items():
            for other in others:
                assert value != other, kind
                assert frozenset((value, other)) not in related, kind
                words = [
                    {w.lower() for slot in group.concepts[v].values() for w in slot} for v in (value, other)
                ]
                shared = words[0] & words[1]
                assert not shared or kind == "tip", (kind, value, other, shared)


def test_every_vocabulary_tells_its_licence() -> None:
    folder = Path(find_facts.__code__.co_filename).parent / "vocabulary"
    files = sorted(folder.glob("*.yaml"))
    assert files
    for file in files:
        head = file.read_text(encoding="utf-8").splitlines()[0]
        assert head.startswith("#")
        assert "Apache-2.0" in head


def test_errors_are_of_medhevals_kinds() -> None:
    assert set(MEDHEVAL_KINDS.values()) == {"anatomical", "measurement", "symptom", "technique"}
    assert error_kinds(("technique", "side", "nonsense")) == {"modality", "plane", "side"}
