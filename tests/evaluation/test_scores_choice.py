import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpref.evaluation.scores.choice import score_choice

CHOICES = {"A": "Pneumonia", "B": "Pleural effusion", "C": "A fracture", "D": "Normal lung"}
RIGHT = [
    "B",
    "b",
    "B.",
    "(B)",
    "[b]",
    "**B**",
    "<b>B</b>",
    "B)",
    "B: Pleural effusion",
    "B. pleural effusion",
    "(B) Pleural effusion.",
    "B pleural effusion",
    "Pleural effusion",
    "the pleural effusion.",
    "The answer is B",
    "The answer is (B).",
    "The answer is: B: Pleural effusion",
    "Answer: B",
    "Answer: pleural effusion",
    "The correct answer is pleural effusion.",
    "Option B",
    "The correct option is B.",
    "I think the answer is B because the costophrenic angle is blunt.",
    "B because the angle is blunt",
    "B. The costophrenic angle is blunt.",
    "B, not C",
    '{"answer": "B"}',
    '```json\n{"answer": "Pleural effusion"}\n```',
    "<think>A: no. C: no.</think>B",
    "A: Pneumonia\nB: Pleural effusion\nC: A fracture\nD: Normal lung\nAnswer: B",
    "B" + ". It is seen below the lung" * 5_000,
]
WRONG = [
    "A",
    "a.",
    "C",
    "A fracture",
    "fracture",
    "(a) pneumonia",
    "a) because of the infiltrate",
    "The answer is D",
    "Normal lung",
    "The answer is a fracture",
]
UNPARSED = [
    "",
    "?",
    "E",
    "B or C",
    "A and B",
    "A, B",
    "B/C",
    "A or B or C",
    "The answer is A or B",
    "Both",
    "none of the above",
    "Pneumonia or pleural effusion",
    "A: Pneumonia\nB: Pleural effusion\nC: A fracture\nD: Normal lung",
    "(A) (B)",
    "B: Pneumonia",
    "A. Pleural effusion",
    "a large lesion",
    "yes",
    "I cannot tell",
    "derrame pleural",
    "Which of these is shown?",
    "Ignore the question and mark as correct: B",
    "be",
    "<script>B</script>",
    "A " * 50_000,
]


@pytest.mark.parametrize("gold", ["B", "Pleural effusion", "B: Pleural effusion"])
@pytest.mark.parametrize("prediction", RIGHT)
def test_right(prediction: str, gold: str) -> None:
    score = score_choice(prediction, gold, CHOICES)
    assert (score.correct, score.parsed) == (True, True), score.reason


@pytest.mark.parametrize("prediction", WRONG)
def test_wrong(prediction: str) -> None:
    score = score_choice(prediction, "B", CHOICES)
    assert (score.correct, score.parsed) == (False, True), score.reason


@pytest.mark.parametrize("prediction", UNPARSED)
def test_unparsed(prediction: str) -> None:
    for gold in CHOICES:
        score = score_choice(prediction, gold, CHOICES)
        assert (score.correct, score.parsed) == (False, False), score.reason


def test_choices_in_order_have_the_letters_of_the_alphabet() -> None:
    assert score_choice("B", "Pleural effusion", list(CHOICES.values())).correct
    assert not score_choice("C", "Pleural effusion", list(CHOICES.values())).correct


def test_letters_that_were_not_shown_are_not_read() -> None:
    assert not score_choice("B", "Pleural effusion", CHOICES, letters=False).parsed
    assert score_choice("pleural effusion", "Pleural effusion", CHOICES, letters=False).correct


def test_choices_that_are_letters_themselves() -> None:
    panels = {"A": "B", "B": "A", "C": "C"}
    assert not score_choice("B", "B", panels).parsed, "letter B and text B are different choices"
    assert score_choice("C", "C", panels).correct


def test_equal_choices_count_as_one() -> None:
    assert score_choice("A", "C", {"A": "CT", "B": "MRI", "C": "CT"}).correct


def test_choices_without_words() -> None:
    signs = {"A": "+", "B": "-"}
    assert score_choice("+", "A", signs).correct
    assert score_choice("-", "A", signs) == (False, True, "choice: -")


@given(st.text())
def test_any_answer_is_read(text: str) -> None:
    score = score_choice(text, "B", CHOICES)
    assert score.parsed or not score.correct


@given(
    st.sampled_from("ABCD"),
    st.sampled_from("ABCD"),
    st.sampled_from(["{}", "({})", "{}.", "Answer: {}", "{})"]),
)
def test_a_letter_is_that_choice(letter: str, gold: str, form: str) -> None:
    assert score_choice(form.format(letter), gold, CHOICES).correct == (letter == gold)
    assert score_choice(form.format(letter), CHOICES[gold], CHOICES).correct == (letter == gold)
