from math import exp

import pytest

from medpref.evaluation.scores.legacy import (
    legacy_bleu,
    legacy_closed_scores,
    legacy_exact_match,
    legacy_open_f1,
    legacy_open_scores,
)
from medpref.evaluation.scores.legacy_multimedeval import legacy_multimedeval


@pytest.mark.parametrize(
    ("prediction", "gold", "expected"),
    [
        ("yes and no", "yes", 1.0),
        ("yes and no", "No", 1.0),
        ("It is not clear", "no", 1.0),
        ("no", "yes", 0.0),
        ("normal", "no", 0.0),
        ("", "yes", 0.0),
    ],
)
def test_one_right_word_suffices(prediction: str, gold: str, expected: float) -> None:
    assert legacy_multimedeval(prediction, gold)["legacy_multimedeval_closed"] == expected


def test_open_by_hand() -> None:
    # Words {left, lung, mass, big} against {left, lung, lobe}: 2 of 4 and 2 of 3; six words said, two right.
    scores = legacy_multimedeval("left left left lung mass big", "left lung lobe")
    assert scores["legacy_multimedeval_recall"] == pytest.approx(2 / 3)
    assert scores["legacy_multimedeval_accuracy"] == 0
    assert scores["legacy_multimedeval_f1"] == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))
    assert scores["legacy_multimedeval_bleu_1"] == pytest.approx(2 / 6)
    assert "legacy_multimedeval_closed" not in scores


def test_the_brevity_penalty() -> None:
    scores = legacy_multimedeval("lung", "left lung lobe")
    assert scores["legacy_multimedeval_bleu_1"] == pytest.approx(exp(1 - 3))


def test_a_dump_of_words_is_an_accurate_answer() -> None:
    dump = "left right lung lobe upper lower brain liver spleen"
    assert legacy_multimedeval(dump, "Right upper lobe")["legacy_multimedeval_accuracy"] == 1


@pytest.mark.parametrize("nothing", ["", "the", "?"])
def test_empty_sides(nothing: str) -> None:
    assert set(legacy_multimedeval(nothing, "lung").values()) == {0.0}
    assert set(legacy_multimedeval("lung", nothing).values()) == {0.0}


def test_exact_match_is_a_precision() -> None:
    assert legacy_exact_match("lung", "left lung") == 1
    assert legacy_exact_match("it is in left lung", "left lung") == pytest.approx(2 / 5)
    assert legacy_exact_match("lung lung", "lung") == pytest.approx(1 / 2)
    assert legacy_exact_match("", "lung") == 0


def test_legacy_f1_counts_repetitions() -> None:
    # Three hits of "left", one other word, one miss: precision 3 / 4, recall 3 / 4.
    assert legacy_open_f1("left left left mass", "left lung") == pytest.approx(3 / 4)
    assert legacy_open_f1("", "lung") == legacy_open_f1("mass", "lung") == 0


def test_bleu_is_not_cumulative() -> None:
    # Of the pairs "left lung", "lung mass" one is right, of the words two: BLEU-2 is the root of 2/3 · 1/2.
    assert legacy_bleu("left lung mass", "left lung", 1) == pytest.approx(2 / 3)
    assert legacy_bleu("left lung mass", "left lung", 2) == pytest.approx(1 / 2)
    assert legacy_bleu("left lung mass", "left lung", 3) == 0
    assert legacy_bleu("lung", "lung", 2) == 0
    assert legacy_bleu("left lung", "left lung upper lobe", 2) == pytest.approx(exp(1 - 4 / 2))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("prediction", "gold"),
    [
        ("left lung mass", "left lung"),
        ("left lung", "left lung upper lobe"),
        ("mass", "left lung"),
        ("left lung upper lobe mass", "upper lobe left lung"),
    ],
)
def test_bleu_against_nltk(prediction: str, gold: str) -> None:
    translate = pytest.importorskip("nltk.translate.bleu_score")
    for n in (1, 2, 3):
        weights = [float(length == n) for length in (1, 2, 3)]
        expected = translate.sentence_bleu([gold.split()], prediction.split(), weights=weights)
        assert legacy_bleu(prediction, gold, n) == pytest.approx(expected, abs=1e-12)


def test_names_start_with_legacy() -> None:
    names = [
        *legacy_closed_scores("yes", "no"),
        *legacy_open_scores("lung", "lung"),
        *legacy_multimedeval("yes", "no"),
        *legacy_multimedeval("lung", "lung"),
    ]
    assert all(name.startswith("legacy_") for name in names)
    assert len(names) == 1 + 6 + 3 + 4
