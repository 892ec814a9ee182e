import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpref.evaluation.facts.labels import Label, UnreadableError, read_label
from medpref.evaluation.facts.replies import read_labels, write_labels

E, P, N, C = Label.ENTAILMENT, Label.PARTIAL, Label.NEUTRAL, Label.CONTRADICTION
NAMES = {"E": E, "P": P, "N": N, "C": C}

# Reply → its labels in the order of the facts.
READABLE = {
    '["1. Entailment", "2. Neutral", "3. Contradiction", "4. Partial Entailment"]': "ENCP",
    '["1. entailment", "2. NEUTRAL", "3. ContraDiction"]': "ENC",
    '["Entailment", "Neutral"]': "EN",
    '["1.Entailment", "2)Neutral", "3: Contradiction", "4 - Partial entailment"]': "ENCP",
    '["1: entailment", "2: partially entailed", "3: contradictory"]': "EPC",
    '["1. Partial-Entailment", "2. partial_entailment", "3. PartialEntailment"]': "PPP",
    '["1. Entailment" "2. Neutral"]': "EN",
    '["1. Entailment"\n"2. Neutral"\n]': "EN",
    '["1. Entailment", "2. Neutral",]': "EN",
    '["1. Entailment",, "2. Neutral"]': "EN",
    '["1. Entailment"; "2. Neutral"]': "EN",
    "['1. Entailment', '2. Neutral']": "EN",
    "[“1. Entailment”, “2. Neutral”]": "EN",
    "[1. Entailment, 2. Neutral]": "EN",
    "[Entailment, Neutral]": "EN",
    '["1. Entailment", "2. Neutral"': "EN",
    '"1. Entailment", "2. Neutral"': "EN",
    '```json\n["1. Entailment", "2. Neutral"]\n```': "EN",
    '```\n1. Entailment\n2. Neutral\n```': "EN",
    '```["1. Entailment"]```': "E",
    '```json\n["1. Entailment", "2. Neutral"]': "EN",
    'Sure! Here it is:\n["1. Entailment", "2. Neutral"]\nI hope [this] helps.': "EN",
    'As asked [see above]:\n```json\n["1. Entailment"]\n```\nEntailment means that it follows.': "E",
    '<think>["1. Neutral"] or not</think>\n["1. Entailment"]': "E",
    "1. Entailment\n2. Neutral": "EN",
    "Entailment\nNeutral\n": "EN",
    "- Entailment\n- Neutral": "EN",
    "Entailment, Neutral, Contradiction": "ENC",
    "1. Entailment 2. Neutral": "EN",
    "Fact 1: Entailment\nFact 2: Neutral": "EN",
    "**1. Entailment**\n**2. Neutral**: not mentioned": "EN",
    "| 1 | Entailment |\n| 2 | Neutral |": "EN",
    "The labels are:\n1. Entailment - the response says so\n2. Neutral, since nothing is said of it": "EN",
    '["1. Entailment - it says \\"left\\", so no contradiction", "2. Neutral (not mentioned)"]': "EN",
    '["1. The heart is enlarged: Entailment", "2. No effusion - Neutral"]': "EN",
    '["2. Neutral", "1. Entailment"]': "EN",
    '["0. Entailment", "1. Neutral"]': "EN",
    '["1. Entailment", "Neutral"]': "EN",
    '[["1. Entailment", "2. Neutral"]]': "EN",
    '{"labels": ["1. Entailment", "2. Neutral"]}': "EN",
    '{"facts": ["a", "b"], "labels": ["Entailment", "Neutral"]}': "EN",
    '{"result": {"labels": ["Entailment", "Neutral"]}}': "EN",
    '{"1": "Entailment", "2": "Neutral"}': "EN",
    '["1": "Entailment", "2": "Neutral"]': "EN",
    '{"fact_2": "Neutral", "fact_1": "Entailment"}': "EN",
    '[{"fact": "The heart is large", "label": "Entailment"}, {"fact": "x", "label": "Neutral"}]': "EN",
    '[{"id": 2, "label": "Neutral"}, {"id": 1, "label": "Entailment"}]': "EN",
    '{"label": "Entailment"}\n{"label": "Entailment"}': "EE",
    '["1. Entailment\\n2. Neutral"]': "EN",
    '"[\\"1. Entailment\\"]"': "E",
    "Entailment": "E",
    "\ufeff[\"1. Entailment\"]\x00": "E",
}  # fmt: skip


@pytest.mark.parametrize(("content", "letters"), READABLE.items())
def test_a_reply_in_any_of_these_shapes_is_read(content: str, letters: str) -> None:
    wanted = tuple(NAMES[letter] for letter in letters)
    assert read_labels(content, len(wanted)) == wanted
    assert read_labels(content) == wanted


UNREADABLE = [
    ("", 1, "empty"),
    ("null", 1, "no list"),
    ("[]", 1, "no list"),
    ("{}", 1, "no list"),
    ("I cannot help with that.", 1, "no list"),
    ("Neutral facts are those that are not mentioned.", 1, "no list"),
    ('["1. Entailment"]', 2, "1 labels for 2 facts"),
    ('["1. Entailment", "2. Neutral"]', 1, "2 labels for 1 facts"),
    ('["1. Entailment", "2. Neut', 2, "none of the four"),
    ('["1. Entailment", "2. Unknown"]', 2, "none of the four"),
    ('["1. Entailment", null]', 2, "none of the four"),
    ('["1. Entailment", 2]', 2, "none of the four"),
    ('["1. Not entailed", "2. Neutral"]', 2, "none of the four"),
    ('["1. Entailment or Neutral", "2. Neutral"]', 2, "none of the four"),
    ('["1. Entailment, Neutral", "2. Neutral"]', 2, "none of the four"),
    ('["1. Partial Contradiction", "2. Neutral"]', 2, "none of the four"),
    ('["1. Entailment", "1. Neutral"]', 2, "same number"),
    ('["1. Entailment", "3. Neutral"]', 2, "gaps"),
    ('["Entailment", "1. Neutral"]', 2, "not by their place"),
    ('["1. Entailment"] or rather ["1. Neutral"]', 1, "two lists"),
    ("[" * 100_000, 1, "no list"),
    (" " * 2_000_000, 1, "too long"),
]


@pytest.mark.parametrize(("content", "count", "reason"), UNREADABLE, ids=range(len(UNREADABLE)))
def test_a_reply_that_does_not_decide_says_why(content: str, count: int, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        read_labels(content, count)


@pytest.mark.parametrize(
    "words", ["entails", "Entailed.", "FULLY ENTAILED", '"Entailment"', "Label: entailment"]
)
def test_words_for_entailment(words: str) -> None:
    assert read_label(words) is E


@pytest.mark.parametrize(
    "words", ["", "entailmental", "yes", "non-entailment", "no contradiction", "supported"]
)
def test_other_words_are_no_label(words: str) -> None:
    assert read_label(words) is None


@given(st.lists(st.sampled_from(list(Label)), min_size=1, max_size=30))
def test_what_is_written_is_read(labels: list[Label]) -> None:
    assert read_labels(write_labels(labels), len(labels)) == tuple(labels)


@given(
    st.lists(st.sampled_from(list(Label)), min_size=1, max_size=12).flatmap(
        lambda labels: st.tuples(st.just(labels), st.permutations(range(len(labels))))
    )
)
def test_numbers_decide_the_order(drawn: tuple[list[Label], list[int]]) -> None:
    labels, order = drawn
    shuffled = json.dumps([f"{place + 1}. {labels[place].value}" for place in order])
    assert read_labels(shuffled, len(labels)) == tuple(labels)


PIECES = st.sampled_from(
    [
        '"',
        "'",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\n",
        "```",
        "1. ",
        "2. ",
        "Entailment",
        "neutral",
        "Contradict",
        "\\",
    ]
)


@given(st.one_of(st.text(), st.binary().map(lambda b: b.decode("latin-1")), st.lists(PIECES).map("".join)))
def test_no_reply_makes_it_stumble(content: str) -> None:
    try:
        labels = read_labels(content, 2)
    except UnreadableError:
        return
    assert len(labels) == 2
