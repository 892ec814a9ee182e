import json
import math
import random
from dataclasses import replace
from typing import Any

import pytest

from medpref.errors import InputError
from medpref.evaluation.log import EvaluationLog, LogHeader, Record
from medpref.evaluation.results import build_results

SLICES = {"visual": {"position", "size"}, "unheard-of": {"never"}}
HEADLINE = [("vqa", "accuracy", "all"), ("vqa", "balanced_accuracy", "closed"), ("absent", "accuracy", "all")]

# Sample, cluster, kinds, reference; the last one is open.
SAMPLES = [
    ("1", "a", ("position",), "yes"),
    ("2", "a", ("position", "size"), "yes"),
    ("3", "b", ("presence",), "no"),
    ("4", "c", ("presence",), "no"),
    ("5", "d", ("organ",), "lung"),
]


def make_log(correct: str, method: str = "dpo", seed: int = 0, **header: Any) -> EvaluationLog:
    """Make a log of the samples above: 1 right, 0 wrong, u unscored, - not asked."""
    records = [
        Record(
            id=name,
            prompt="?",
            images=(cluster,),
            cluster=cluster,
            prediction="",
            gold=gold,
            kinds=kinds,
            closed=gold in ("yes", "no"),
            scores={} if mark == "u" else {"accuracy" if gold != "lung" else "token_f1": float(mark)},
            unscored="no reply" if mark == "u" else None,
        )
        for (name, cluster, kinds, gold), mark in zip(SAMPLES, correct, strict=True)
        if mark != "-"
    ]
    base = LogHeader("study", "llava", method, seed, "vqa", 1, "normal", "test")
    return EvaluationLog(replace(base, **header), tuple(records))


def build(logs: list[EvaluationLog], **options: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "study": "study",
        "controls": ["sft"],
        "headline": HEADLINE,
        "slices": SLICES,
        "resamples": 200,
    }
    return build_results(logs, **(arguments | options))


def find(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    matches = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    assert len(matches) == 1, matches
    return matches[0]


def test_rows_by_hand() -> None:
    rows = build([make_log("10111")])["rows"]
    accuracy = {row["slice"]: (row["value"], row["n"]) for row in rows if row["metric"] == "accuracy"}
    assert accuracy == {
        "all": (0.75, 4),
        "closed": (0.75, 4),
        "kind:position": (0.5, 2),
        "kind:presence": (1.0, 2),
        "kind:size": (0.0, 1),
        "visual": (0.5, 2),
    }
    assert find(rows, metric="token_f1", slice="open")["value"] == 1
    assert find(rows, metric="balanced_accuracy", slice="all")["value"] == pytest.approx((0.5 + 1) / 2)
    place = ["backbone", "method", "condition", "seed", "task", "metric", "slice"]
    assert list(rows[0]) == [*place, "value", "n", "ci_low", "ci_high", "unscored"]


def test_one_cluster_has_no_interval() -> None:
    row = find(build([make_log("10111")])["rows"], metric="accuracy", slice="visual")
    assert (row["ci_low"], row["ci_high"]) == (None, None)


def test_balanced_accuracy_only_where_both_answers_occur() -> None:
    rows = build([make_log("10111")])["rows"]
    assert {row["slice"] for row in rows if row["metric"] == "balanced_accuracy"} == {"all", "closed"}


def test_unscored_samples_are_counted_and_are_no_zeros() -> None:
    rows = build([make_log("1u1u1"), make_log("11111", "sft")])["rows"]
    row = find(rows, metric="accuracy", slice="all", method="dpo")
    assert (row["value"], row["n"], row["unscored"]) == (1, 2, 2)
    row = find(rows, metric="accuracy", slice="kind:size", method="dpo")
    assert (row["value"], row["n"], row["unscored"]) == (None, 0, 1)


def test_a_run_without_any_score_is_seen() -> None:
    rows = build([make_log("11111"), make_log("uuuuu", "broken")])["rows"]
    empty = [row for row in rows if row["method"] == "broken"]
    assert {row["value"] for row in empty} == {None}
    assert find(empty, metric="accuracy", slice="all")["unscored"] == 5
    assert not [row for row in empty if (row["metric"], row["slice"]) == ("accuracy", "open")]


def test_seeds_are_pooled() -> None:
    rows = build([make_log("11111", seed=0), make_log("1100u", seed=10), make_log("10101", seed=2)])["rows"]
    row = find(rows, metric="accuracy", slice="all", seed="all")
    assert row["value"] == pytest.approx((1 + 0.5 + 0.5) / 3, abs=1e-6)
    assert row["sd"] == pytest.approx(math.sqrt(((1 / 3) ** 2 + 2 * (1 / 6) ** 2) / 2), abs=1e-6)
    assert (row["n"], row["unscored"]) == (4, 1)
    assert row["ci_low"] <= row["value"] <= row["ci_high"]
    seeds = [row["seed"] for row in rows if (row["metric"], row["slice"]) == ("accuracy", "all")]
    assert seeds == [0, 2, 10, "all"]


def test_comparisons_are_paired_on_samples_that_both_have() -> None:
    result = build([make_log("11011"), make_log("0-0u1", "sft")])
    row = find(result["comparisons"], metric="accuracy", slice="all")
    # Samples 1 and 3: differences 1 and 0, in clusters a and b.
    assert (row["difference"], row["n"], row["method"], row["control"]) == (0.5, 2, "dpo", "sft")
    # Only the sign of cluster a matters, and either is as extreme.
    assert row["p_value"] == row["p_holm"] == 1
    assert not [row for row in result["comparisons"] if row["method"] == "sft"]


def test_the_balanced_comparison_by_hand() -> None:
    rows = build([make_log("11011"), make_log("00001", "sft")])["comparisons"]
    row = find(rows, metric="balanced_accuracy", slice="closed")
    assert row["difference"] == pytest.approx((1 + 0.5) / 2)
    # Parts by cluster: a gives 1/2, c gives 1/4: of the sign patterns those where both agree, one half.
    assert row["p_value"] == pytest.approx(0.5)


def test_holm_runs_over_the_methods_of_one_figure() -> None:
    methods = {"one": "11111", "two": "11001", "three": "11101"}
    logs = [make_log("00001", "sft"), *(make_log(marks, name) for name, marks in methods.items())]
    rows = [row for row in build(logs)["comparisons"] if row["metric"] == "accuracy"]
    p_values = {row["method"]: (row["p_value"], row["p_holm"]) for row in rows}
    # Clusters a, b and c differ by 2, 1 and 1: two of eight patterns for "one", half of them for "three".
    assert p_values == {"one": (0.25, 0.75), "three": (0.5, 1.0), "two": (1.0, 1.0)}


def test_baselines_are_no_family_members() -> None:
    logs = [make_log("00001", "sft"), make_log("11111"), make_log("11110", "baseline:majority")]
    assert {row["method"] for row in build(logs)["comparisons"]} == {"dpo"}
    assert find(build(logs)["rows"], method="baseline:majority", metric="accuracy", slice="all")["value"] == 1


def test_runs_are_paired_by_seed_and_pooled() -> None:
    logs = [make_log("11111", seed=s) for s in (0, 1, 2)] + [make_log("10111", "sft", seed=s) for s in (1, 2)]
    rows = [row for row in build(logs)["comparisons"] if row["metric"] == "accuracy"]
    assert [(row["seed"], row["difference"]) for row in rows] == [(1, 0.25), (2, 0.25), ("all", 0.25)]


def test_the_only_run_of_a_control_stands_beside_every_seed() -> None:
    logs = [make_log("11111", seed=s) for s in (1, 2)] + [make_log("10111", "sft", seed=0)]
    rows = [row for row in build(logs)["comparisons"] if row["metric"] == "accuracy"]
    assert [row["seed"] for row in rows] == [1, 2, "all"]


def test_image_reliance_by_hand() -> None:
    rows = build([make_log("11101"), make_log("01000", condition="blank")])["image_reliance"]
    row = find(rows, metric="accuracy", slice="all")
    assert (row["difference"], row["n"]) == (0.5, 4)
    assert find(rows, metric="accuracy", slice="visual")["difference"] == 0.5
    assert {row["slice"] for row in rows} == {"all", "visual", "closed"}
    assert "p_value" not in row


def test_the_result_does_not_depend_on_the_order_of_logs() -> None:
    logs = [make_log("11011", m, s) for m in ("dpo", "sft", "ipo") for s in (0, 1)]
    logs += [make_log("10010", m, s, condition="blank") for m in ("dpo", "sft") for s in (0, 1)]
    expected = json.dumps(build(logs), allow_nan=False)
    random.Random(0).shuffle(logs)
    shuffled = [replace(log, records=tuple(reversed(log.records))) for log in logs]
    assert json.dumps(build(shuffled), allow_nan=False) == expected


def test_tasks_and_backbones_do_not_mix() -> None:
    logs = [make_log("11111"), make_log("00000", "sft", backbone="huatuo"), make_log("0-0-0", task="other")]
    result = build(logs)
    assert result["comparisons"] == []
    assert find(result["rows"], task="other", metric="accuracy", slice="all")["n"] == 2
    assert find(result["rows"], task="vqa", method="sft", metric="accuracy", slice="all")["value"] == 0


def test_figures_are_rounded() -> None:
    row = find(
        build([make_log("1101-"), make_log("111--", "sft")])["rows"],
        method="sft",
        metric="accuracy",
        slice="all",
    )
    assert row["value"] == 1
    pooled = build([make_log("110--", seed=s) for s in (0, 1)])["rows"]
    assert find(pooled, metric="accuracy", slice="all", seed="all")["value"] == 0.666667


@pytest.mark.parametrize("logs", [[], [make_log("-----")], [make_log("uuuuu")]])
def test_nothing_to_report(logs: list[EvaluationLog]) -> None:
    assert build(logs) == (
        {"version": 1, "study": "study", "rows": [], "comparisons": [], "image_reliance": []}
    )


@pytest.mark.parametrize(
    ("logs", "options", "message"),
    [
        ([make_log("11111"), make_log("01111")], {}, "two logs"),
        ([make_log("11111"), make_log("01111", seed=1, task_version=2)], {}, "task_version"),
        ([make_log("11111"), make_log("01111", seed=1, split="validation")], {}, "split"),
        ([make_log("11111")], {"slices": {"closed": {"x"}}}, "reserved"),
        ([make_log("11111")], {"slices": {"kind:size": {"x"}}}, "reserved"),
        ([make_log("11111")], {"headline": [("vqa", "accuracy", "visul")]}, "Did you mean 'visual'"),
    ],
)
def test_what_cannot_be_used_is_refused(logs: list[EvaluationLog], options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build(logs, **options)
    assert message in str(caught.value)


def test_a_sample_twice_or_in_two_clusters_is_refused() -> None:
    log = make_log("11111")
    with pytest.raises(InputError, match="twice"):
        build([replace(log, records=log.records * 2)])
    moved = tuple(replace(record, cluster="z") for record in log.records)
    with pytest.raises(InputError, match="clusters"):
        build([log, replace(make_log("11111", "sft"), records=moved)])
