import pytest

from medpref.evaluation.log import EvaluationLog, LogHeader, Record
from medpref.evaluation.looking import consistency, flip_rate, looking_rows


def log(
    condition: str, answers: dict[str, str], golds: dict[str, str], seed: int = 0, closed: bool = False
) -> EvaluationLog:
    records = tuple(
        Record(
            ident,
            "?",
            (),
            ident[0],
            answer,
            golds[ident],
            ("side",),
            closed,
            {"accuracy": float(answer.lower().startswith(golds[ident]))},
        )
        for ident, answer in answers.items()
    )
    return EvaluationLog(LogHeader("s", "b", "m", seed, "t", 1, condition, "test"), records)


NORMAL = {"a1": "left", "b1": "right", "c1": "left", "d1": "right"}
MIRRORED = {"a1": "right", "b1": "left", "c1": "right", "d1": "left"}


def values(rows: list[dict[str, object]], **wanted: object) -> dict[object, object]:
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return {row["measure"]: row["value"] for row in found}


def test_flips_by_hand() -> None:
    normal = {"a1": "Left lung", "b1": "right", "c1": "right", "d1": "in both lungs"}
    mirrored = {"a1": "right", "b1": "right", "c1": "left", "d1": "left"}
    rows = flip_rate([log("normal", normal, NORMAL), log("mirror", mirrored, MIRRORED)])
    # a flips and is right twice, b stays, c flips and is wrong twice, d cannot be read.
    assert values(rows) == {"flipped": 0.5, "unchanged": 0.25, "unread": 0.25, "both_right": 0.25}
    assert {row["n"] for row in rows} == {4}
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows)
    assert {(row["backbone"], row["method"], row["seed"], row["task"]) for row in rows} == {
        ("b", "m", 0, "t")
    }


def test_a_model_that_looks_and_one_that_does_not() -> None:
    looks = flip_rate([log("normal", NORMAL, NORMAL), log("mirror", MIRRORED, MIRRORED)])
    assert values(looks) == {"flipped": 1.0, "unchanged": 0.0, "unread": 0.0, "both_right": 1.0}
    always = dict.fromkeys(NORMAL, "left")
    guesses = flip_rate([log("normal", always, NORMAL), log("mirror", always, MIRRORED)])
    assert values(guesses) == {"flipped": 0.0, "unchanged": 1.0, "unread": 0.0, "both_right": 0.0}


def test_only_samples_that_both_conditions_have_count_and_seeds_are_pooled() -> None:
    shorter = {"a1": "right", "b1": "right"}
    logs = [
        log("normal", NORMAL, NORMAL),
        log("mirror", shorter, MIRRORED),
        log("normal", NORMAL, NORMAL, 1),
        log("mirror", MIRRORED, MIRRORED, 1),
        log("normal", NORMAL, NORMAL, 2),
    ]
    rows = flip_rate(logs)
    assert {row["n"] for row in rows} == {2}
    flipped = {row["seed"]: row["value"] for row in rows if row["measure"] == "flipped"}
    assert flipped == {0: 0.5, 1: 1.0, "all": 0.75}


GOLDS = {"a1": "yes", "b1": "no", "c1": "yes", "d1": "no"}


def test_consistency_by_hand() -> None:
    normal = {"a1": "Yes, there is.", "b1": "yes", "c1": "yes", "d1": "perhaps"}
    again = {"a1": "yes", "b1": "Yes.", "c1": "no", "d1": "no"}
    rows = consistency(
        [log("normal", normal, GOLDS, closed=True), log("rephrased", again, GOLDS, closed=True)]
    )
    assert {row["condition"] for row in rows} == {"rephrased"}
    assert values(rows) == {"same": 0.5, "changed": 0.25, "unread": 0.25, "both_right": 0.25}


def test_several_rephrasings_count_alone_and_together() -> None:
    others = {"a1": "yes", "b1": "no", "c1": "no", "d1": "no"}
    logs = [
        log("normal", GOLDS, GOLDS, closed=True),
        log("rephrased", GOLDS, GOLDS, closed=True),
        log("rephrased-2", others, GOLDS, closed=True),
    ]
    rows = consistency(logs)
    assert values(rows, condition="rephrased")["same"] == 1.0
    assert values(rows, condition="rephrased-2")["same"] == 0.75
    assert values(rows, condition="rephrased+rephrased-2")["same"] == 0.75


def test_other_answers_are_the_same_word_for_word() -> None:
    golds = {"a1": "lung", "b1": "liver"}
    logs = [
        log("normal", {"a1": "The lung.", "b1": "liver"}, golds),
        log("rephrased", {"a1": "lung", "b1": "the liver dome"}, golds),
    ]
    assert values(consistency(logs)) == {
        "same": 0.5,
        "changed": 0.5,
        "unread": 0.0,
        "both_right": pytest.approx(0.0),
    }


def test_without_the_conditions_there_are_no_rows() -> None:
    made = looking_rows([log("normal", NORMAL, NORMAL), log("blank", NORMAL, NORMAL)])
    assert list(made) == ["flips", "consistency", "calibration", "reliability", "errors", "agreement"]
    assert [made[name] for name in ("flips", "consistency", "calibration", "reliability")] == [[], [], [], []]
    assert looking_rows([]) == {name: [] for name in made}
