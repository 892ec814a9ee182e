import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpref.evaluation.scores.text import normalise, tokens


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Two", "2"),
        ("  The  LEFT lung. ", "left lung"),
        ("X-ray", "x ray"),
        ("2cm", "2 cm"),
        ("twenty-one", "21"),
        ("1,000", "1000"),
        ("patient's left", "Patient’s left"),
        ("ＭＲＩ", "mri"),
        ("le\u200bft", "left"),
        ("Straße", "STRASSE"),
        ("zero", "0"),
    ],
)
def test_equal_answers(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("left", "right"),
        ("1.5", "15"),
        ("vitamin A", "vitamin"),
        ("A", "B"),
        ("T1", "T2"),
        ("2", "3"),
        ("mri", "mr"),
        ("twenty", "2"),
    ],
)
def test_different_answers(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


def test_tokens_by_hand() -> None:
    assert tokens("The T2-weighted image, of two 1.5 cm lesions!") == (
        ["t2", "weighted", "image", "of", "2", "1.5", "cm", "lesions"]
    )


@pytest.mark.parametrize("nothing", ["", "  \n", "...", "–", "<>", "_"])
def test_nothing_has_no_tokens(nothing: str) -> None:
    assert tokens(nothing) == []


def test_an_article_alone_is_a_label() -> None:
    assert tokens("A") == ["a"]
    assert tokens("the a") == ["a"]


@given(st.text())
def test_normalising_twice_changes_nothing_in_words(text: str) -> None:
    once = normalise(text)
    assert normalise(once.upper()) == normalise(once.upper().lower()), "case does not count"
    assert "  " not in once
    assert once == once.strip()


@given(st.lists(st.sampled_from(["left", "lung", "2", "no", "effusion"]), max_size=6))
def test_normalised_text_stays(words: list[str]) -> None:
    assert normalise(" ".join(words)) == " ".join(words)
