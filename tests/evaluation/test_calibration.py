import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpref.evaluation.log import EvaluationLog, LogHeader, Record
from medpref.evaluation.looking import calibration, p_yes
from medpref.evaluation.looking.calibration import ece, ece_if_calibrated, equal_mass, rms_debiased


def record(ident: str, probability: float, gold: str, cluster: str | None = None) -> Record:
    logps = {"yes": math.log(probability), "no": math.log(1 - probability)}
    return Record(ident, "?", (), cluster or ident, "", gold, ("presence",), True, {}, choice_logps=logps)


def log(records: list[Record], seed: int = 0, condition: str = "normal", method: str = "m") -> EvaluationLog:
    header = LogHeader("s", "b", method, seed, "t", 1, condition, "test")
    return EvaluationLog(header, tuple(records))


@pytest.mark.parametrize(
    ("logps", "expected"),
    [
        ({"yes": math.log(0.2), "no": math.log(0.6)}, 0.25),
        ({"Yes": -1000.0, "No.": -1000.0}, 0.5),
        ({"yes": -2000.0, "no": -1.0}, 0.0),
        ({"yes": -1.0}, None),
        ({"yes": -1.0, "no": -1.0, "maybe": -1.0}, None),
        ({"left": -1.0, "right": -1.0}, None),
        ({}, None),
    ],
)
def test_the_probability_of_yes_by_hand(logps: dict[str, float], expected: float | None) -> None:
    made = p_yes(Record("a", "?", (), "a", "", "yes", (), True, {}, choice_logps=logps))
    assert made == (expected if expected is None else pytest.approx(expected))


def test_calibration_errors_by_hand() -> None:
    p = np.array([0.1, 0.3, 0.6, 1.0])
    label = np.array([False, True, True, True])
    parts = np.array([0, 0, 1, 1])
    # Bin 1: share 0.5 against 0.2. Bin 2: share 1 against 0.8.
    assert ece(p, label, parts) == pytest.approx(0.5 * 0.3 + 0.5 * 0.2)
    # Bin 1: 0.09 − 0.25 / 1 = −0.16. Bin 2: 0.04 − 0. Together they are below 0.
    assert rms_debiased(p, label, parts) == 0.0
    # One bin: share 3/4 against 1/2, less (3/16) / 3.
    assert rms_debiased(p, label, np.zeros(4, dtype=int)) == pytest.approx(math.sqrt(0.25**2 - 0.1875 / 3))
    assert rms_debiased(p, label, np.arange(4)) == 0.0


def test_chance_alone_by_hand() -> None:
    # One fair coin: |0 − ½| = |1 − ½| = ½. Two in one bin: 1 − ½ with probability ½, else 0.
    assert ece_if_calibrated(np.array([0.5]), np.array([0])) == pytest.approx(0.5)
    two = ece_if_calibrated(np.array([0.5, 0.5]), np.array([0, 0]), draws=20_000)
    assert two == pytest.approx(0.25, abs=0.01)
    assert ece_if_calibrated(np.array([0.0, 1.0]), np.array([0, 1])) == 0.0


@pytest.mark.parametrize(
    ("values", "bins", "sizes"),
    [
        (range(200), 10, [20] * 10),
        (range(60), 10, [20] * 3),
        (range(19), 10, [19]),
        (range(50), 1, [50]),
        ([0] * 100 + list(range(1, 101)), 4, [100, 50, 50]),
        ([7] * 90, 4, [90]),
    ],
)
def test_bins_hold_equally_many_and_equal_probabilities_together(
    values: list[int], bins: int, sizes: list[int]
) -> None:
    p = np.array(list(values)) / 300
    assert np.bincount(equal_mass(p, bins)).tolist() == sizes


@given(st.lists(st.floats(0, 1), min_size=1, max_size=120), st.integers(1, 12))
def test_bins_are_in_order_and_none_is_empty(values: list[float], bins: int) -> None:
    p = np.array(values)
    parts = equal_mass(p, bins)
    order = np.argsort(p, kind="stable")
    assert (np.diff(parts[order]) >= 0).all()
    assert (np.bincount(parts) > 0).all()
    assert len({(number, value) for number, value in zip(parts, values, strict=True)}) == len(set(values))
    assert parts.max() < bins


def test_the_rows_by_hand() -> None:
    records = [record(f"a{n}", 0.8, "yes" if n < 6 else "no") for n in range(10)]
    records += [Record("open", "?", (), "open", "", "lung", (), False, {})]
    made = calibration([log(records)])
    values = {row["measure"]: row["value"] for row in made.summary}
    assert values == {
        "ece": pytest.approx(0.2),
        "ece_if_calibrated": pytest.approx(0.1, abs=0.02),
        "rms_debiased": pytest.approx(math.sqrt(0.04 - 0.24 / 9), abs=1e-6),
        "brier": pytest.approx(0.6 * 0.04 + 0.4 * 0.64),
        "brier_of_base_rate": pytest.approx(0.24),
        "mean_p_yes": pytest.approx(0.8),
        "share_yes": pytest.approx(0.6),
    }
    assert {row["n"] for row in made.summary} == {10}
    (only,) = made.reliability
    assert only.items() >= {"bin": 1, "bins": 1, "p_mean": 0.8, "share_yes": 0.6, "n": 10}.items()
    assert only["ci_low"] < 0.6 < only["ci_high"]


def test_the_true_probabilities_have_no_more_error_than_chance() -> None:
    rng = np.random.default_rng(3)
    p = rng.uniform(0.02, 0.98, 2000)
    drawn = rng.random(2000) < p
    true = [
        record(f"q{n:04}", x, "yes" if y else "no") for n, (x, y) in enumerate(zip(p, drawn, strict=True))
    ]
    sure = [record(r.id, 0.99 if p_yes(r) > 0.5 else 0.01, r.gold) for r in true]
    made = calibration([log(true), log(sure, method="sure")])
    value = {(row["method"], row["measure"]): row["value"] for row in made.summary}
    assert value["m", "ece"] < 2 * value["m", "ece_if_calibrated"]
    assert value["m", "rms_debiased"] < 0.03
    assert value["sure", "ece"] > 0.2 > 5 * value["sure", "ece_if_calibrated"]
    assert value["sure", "rms_debiased"] == pytest.approx(value["sure", "ece"], abs=0.03)
    assert value["m", "brier"] < value["sure", "brier"]
    covered = [
        row["ci_low"] <= row["p_mean"] <= row["ci_high"] for row in made.reliability if row["method"] == "m"
    ]
    assert len(covered) == 10
    assert sum(covered) >= 8


def test_seeds_are_pooled_over_the_samples_that_all_have() -> None:
    logs = [
        log([record(f"q{n}", p, "yes" if n % 3 else "no", f"c{n // 2}") for n in range(size)], seed)
        for seed, p, size in ((0, 0.6, 12), (1, 0.8, 10))
    ]
    rows = calibration(logs).summary
    assert {row["n"] for row in rows} == {10}
    means = {row["seed"]: row["value"] for row in rows if row["measure"] == "mean_p_yes"}
    assert means == {0: pytest.approx(0.6), 1: pytest.approx(0.8), "all": pytest.approx(0.7)}


def test_logs_without_log_probs_and_baselines_have_no_rows() -> None:
    bare = Record("a", "?", (), "a", "yes", "yes", (), True, {"accuracy": 1.0})
    asked = [record("a", 0.5, "yes")]
    assert calibration([log([bare]), log(asked, method="baseline:majority")]) == ([], [])


@pytest.mark.parametrize("gold", ["yes", "no"])
def test_where_only_one_answer_is_ever_right_nothing_is_told(gold: str) -> None:
    assert calibration([log([record(f"q{n}", 0.5, gold) for n in range(30)])]) == ([], [])
