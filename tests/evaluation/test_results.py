import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from medpref.errors import InputError
from medpref.evaluation.log import EvaluationLog, LogHeader, Record
from medpref.evaluation.looking import wrong_answers
from medpref.evaluation.results import build_results
from medpref.evaluation.tasks import tasks

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


def test_the_study_family_spans_tasks_and_backbones() -> None:
    logs = []
    for task, backbone in (("vqa", "llava"), ("other", "llava"), ("vqa", "huatuo")):
        for method, marks in (("sft", "00001"), ("dpo", "11111"), ("irpo", "11011")):
            logs += [make_log(marks, method, seed, task=task, backbone=backbone) for seed in (0, 1)]
    wide = [*HEADLINE, ("other", "accuracy", "all")]
    result = build(logs, headline=wide)
    # Three places and two methods by accuracy, two places by balanced accuracy.
    assert result["families"] == {"comparisons": {"sft": 10}, "pairs": 15}
    rows = result["comparisons"]
    assert {row["seed"] for row in rows if row["p_study"] is not None} == {"all"}
    pooled = [row for row in rows if row["seed"] == "all"]
    assert all(row["p_study"] >= row["p_holm"] >= row["p_value"] for row in pooled)
    # Seeds are equal here, so that the t test is the one of a single seed; the larger p value is corrected.
    smallest = min(max(row["p_value"], row["p_seeds"]) for row in pooled)
    assert min(row["p_study"] for row in pooled) == pytest.approx(min(1.0, 10 * smallest), abs=1e-5)


def test_single_seeds_are_the_family_where_there_are_no_more() -> None:
    result = build([make_log("00001", "sft"), make_log("11111")])
    row = find(result["comparisons"], metric="accuracy", slice="all")
    assert (row["p_value"], row["p_holm"], row["p_seeds"]) == (0.25, 0.25, None)
    # Accuracy and balanced accuracy: two tests of the study.
    assert row["p_study"] == 0.5


def test_mcnemar_and_effect_sizes_by_hand() -> None:
    row = find(
        build([make_log("01111"), make_log("10001", "sft")])["comparisons"], metric="accuracy", slice="all"
    )
    assert (row["b"], row["c"]) == (3, 1)
    assert row["p_mcnemar"] == pytest.approx(2 * (1 + 4) / 16)
    # Surpluses 0, 1 and 1 of three images: 2/3 · 4/2 of one degree of freedom.
    assert row["p_mcnemar_clustered"] == pytest.approx(math.erfc(math.sqrt(4 / 3 / 2)), abs=1e-6)
    assert row["odds_ratio"] == 3
    assert row["cohens_h"] == pytest.approx(2 * (math.pi / 3 - math.pi / 6), abs=1e-6)
    # Contributions 3·(0 - 2·½)/4, 3·(1 - ½)/4 and the same again.
    sd = math.sqrt((0.75**2 + 2 * 0.375**2) / 2)
    assert (row["images"], row["sd_images"], row["sd_seeds"]) == (3, pytest.approx(sd, abs=1e-6), None)
    assert row["d_z"] == pytest.approx(0.5 / sd, abs=1e-5)
    # t of two degrees of freedom: 4.302653 + 1.060660.
    assert row["detectable"] == pytest.approx(5.363313 * sd / math.sqrt(3), abs=1e-5)


def test_graded_metrics_have_no_mcnemar() -> None:
    headline = [("vqa", "token_f1", "open"), ("vqa", "balanced_accuracy", "closed")]
    logs = [make_log("1111" + mark, method) for method, mark in (("dpo", "1"), ("sft", "0"))]
    graded = replace(
        logs[0], records=(*logs[0].records[:4], replace(logs[0].records[4], scores={"token_f1": 0.5}))
    )
    rows = build([graded, logs[1]], headline=headline)["comparisons"]
    assert {(row["b"], row["p_mcnemar"], row["cohens_h"]) for row in rows} == {(None, None, None)}
    assert len(rows) == 2


def test_pooled_seeds_have_no_exact_mcnemar_but_a_t_interval() -> None:
    logs = [make_log(marks, seed=seed) for seed, marks in enumerate(("11111", "11011"))]
    logs += [make_log("00001", "sft", seed=seed) for seed in (0, 1)]
    row = find(build(logs)["comparisons"], seed="all", metric="accuracy", slice="all")
    assert (row["b"], row["c"], row["p_mcnemar"], row["seeds"]) == (7, 0, None, 2)
    assert row["ci_high"] - row["ci_low"] > row["boot_high"] - row["boot_low"]
    assert row["p_seeds"] is not None


def many(correct: float, method: str, seed: int = 0) -> EvaluationLog:
    """Make a log of 200 samples, of which the first `correct` share is right."""
    base = make_log("11111", method, seed)
    records = tuple(
        replace(
            base.records[0], id=f"{n:03}", cluster=f"{n:03}", scores={"accuracy": float(n < 200 * correct)}
        )
        for n in range(200)
    )
    return replace(base, records=records)


def test_ranks_need_tests_that_separate() -> None:
    shares = {"sft": 0.5, "one": 0.52, "two": 0.53, "best": 0.9}
    result = build([many(share, name) for name, share in shares.items()])
    ranks = {row["method"]: (row["best"], row["worst"], row["group"]) for row in result["rankings"]}
    assert ranks == {"best": (1, 1, "a"), "two": (2, 4, "b"), "one": (2, 4, "b"), "sft": (2, 4, "b")}
    assert result["families"]["pairs"] == len(result["pairs"]) == 6
    row = find(result["pairs"], first="best", second="sft")
    assert row["difference"] == pytest.approx(0.4)
    assert row["p_study"] < 0.001


def test_no_rank_where_nothing_separates() -> None:
    result = build([many(share, name) for name, share in {"sft": 0.5, "one": 0.5, "two": 0.51}.items()])
    assert {(row["best"], row["worst"], row["group"]) for row in result["rankings"]} == {(1, 3, "a")}


def test_baselines_are_not_ranked() -> None:
    result = build([many(0.5, "sft"), many(0.9, "baseline:majority"), many(0.6, "dpo")])
    assert {row["method"] for row in result["rankings"]} == {"sft", "dpo"}


def test_attributes_are_slices() -> None:
    log = make_log("10111")
    organs = ("chest", "chest", "chest", "liver", "liver")
    log = replace(
        log,
        records=tuple(
            replace(record, attributes={"organ": organ})
            for record, organ in zip(log.records, organs, strict=True)
        ),
    )
    headline = [("vqa", "accuracy", "organ:chest")]
    result = build([log, replace(log, header=replace(log.header, method="sft"))], headline=headline)
    row = find(result["rows"], method="dpo", metric="accuracy", slice="organ:chest")
    assert (row["value"], row["n"]) == (pytest.approx(2 / 3, abs=1e-6), 3)
    assert find(result["comparisons"], slice="organ:chest")["difference"] == 0
    with pytest.raises(InputError, match="attribute"):
        build([replace(log, records=tuple(replace(r, attributes={"kind": "x"}) for r in log.records))])


def test_conditions_are_compared_with_their_control_where_both_apply() -> None:
    logs = [
        make_log("11101"),
        make_log("1010-", condition="shuffled"),
        make_log("0000-", condition="roi-noise"),
    ]
    logs += [make_log("-110-", condition="outside-noise")]
    rows = build(logs)["image_reliance"]
    wanted = {"metric": "accuracy", "slice": "all"}
    assert find(rows, condition="shuffled", **wanted)["difference"] == 0.25
    assert find(rows, condition="outside-noise", **wanted)["n"] == 3
    # The control of noise in the region is noise elsewhere: (1 + 1 + 0) / 3 less nothing.
    row = find(rows, condition="roi-noise", **wanted)
    assert (row["difference"], row["n"]) == (pytest.approx(2 / 3, abs=1e-6), 3)


def test_a_condition_may_turn_the_references_round() -> None:
    normal, mirrored = make_log("1010-"), make_log("0111-", condition="mirror")
    turned = {"yes": "no", "no": "yes"}
    records = tuple(replace(record, gold=turned[record.gold]) for record in mirrored.records)
    result = build([normal, replace(mirrored, records=records)])
    rows = {
        row["condition"]: row
        for row in result["rows"]
        if row["metric"] == "balanced_accuracy" and row["slice"] == "all"
    }
    # As asked, two yes (1, 0) and two no (1, 0); mirrored, the yes are (1, 1) and the no (0, 1).
    assert {name: row["value"] for name, row in rows.items()} == {"normal": 0.5, "mirror": 0.75}
    # Pairs are sorted by the references as asked: yes (1 - 0, 0 - 1), no (1 - 1, 0 - 1).
    row = find(result["image_reliance"], metric="balanced_accuracy", slice="all")
    assert row["difference"] == pytest.approx((0 - 0.5) / 2)


def test_corpus_scores_have_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    def same(answers: Sequence[str], references: Sequence[str]) -> float:
        return sum(a == b for a, b in zip(answers, references, strict=True)) / len(answers)

    with_corpus = replace(tasks["vqa"], corpus={"agreement": same})
    monkeypatch.setitem(tasks._entries, "vqa", with_corpus)
    logs = [make_log("11111", seed=seed) for seed in (0, 1)]
    answered = tuple(replace(record, prediction="yes") for record in logs[1].records)
    rows = build([logs[0], replace(logs[1], records=answered)])["rows"]
    found = {row["seed"]: row for row in rows if row["metric"] == "agreement"}
    assert {seed: row["value"] for seed, row in found.items()} == {0: 0, 1: 0.4, "all": 0.2}
    assert found["all"]["sd"] == pytest.approx(math.sqrt(2 * 0.2**2), abs=1e-6)
    assert (found[1]["n"], found[1]["ci_low"], found[1]["ci_high"]) == (5, None, None)


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
    lists = ("rows", "comparisons", "pairs", "rankings", "image_reliance")
    families = {"comparisons": {}, "pairs": 0}
    head = {"version": 2, "study": "study", "families": families}
    found = build(logs)
    assert not any(found.pop("looking").values())
    assert found == {**head, **{name: [] for name in (*lists, "unscored_metrics")}}


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


def test_looking_and_unscored_metrics_do_not_depend_on_the_order() -> None:
    def unheard(log: EvaluationLog) -> EvaluationLog:
        return replace(
            log, records=tuple(replace(r, unscored_metrics={"green": "empty"}) for r in log.records)
        )

    logs = [unheard(make_log("1100-", method, seed)) for method in ("dpo", "sft") for seed in (0, 1)]
    found = build(logs)
    assert found == build(logs[::-1])
    assert [(row["method"], row["seed"], row["n"]) for row in found["unscored_metrics"]] == [
        (method, seed, 4) for method in ("dpo", "sft") for seed in (0, 1)
    ]
    assert {row["by"] for row in found["looking"]["errors"]} == {"rules"}
    assert found["looking"]["agreement"] == []


def test_kinds_by_a_judge_stand_beside_those_by_rules_with_their_agreement() -> None:
    log = make_log("1000-")
    judged = dict.fromkeys(wrong_answers([log]), ("symptom",))
    looking = build([log], judged=judged)["looking"]
    assert {row["by"] for row in looking["errors"]} == {"rules", "judge"}
    symptom = find(looking["errors"], by="judge", kind="symptom", measure="of_errors")
    assert (symptom["count"], symptom["value"]) == (3, 1)
    # An empty answer is no answer to the question, by the rules.
    assert looking["agreement"] == [{"n": len(judged), "same": 0.0, "kappa": 0.0}]


def test_where_less_is_better_the_lower_one_is_first() -> None:
    def log(method: str, value: float) -> EvaluationLog:
        own = [
            Record(str(i), "?", (), str(i), "", "yes", (), True, {"accuracy": 1 - value, "unparsed": value})
            for i in range(12)
        ]
        return EvaluationLog(LogHeader("study", "llava", method, 0, "vqa", 1, "normal", "test"), tuple(own))

    headline = [("vqa", metric, "all") for metric in ("accuracy", "unparsed")]
    ranked = build([log("sft", 1.0), log("dpo", 0.0)], headline=headline)["rankings"]
    for metric, values in (("accuracy", [1, 0]), ("unparsed", [0, 1])):
        first, second = (row for row in ranked if row["metric"] == metric)
        assert (first["method"], first["best"], first["worst"]) == ("dpo", 1, 1)
        assert (second["method"], second["best"], second["worst"]) == ("sft", 2, 2)
        assert [first["value"], second["value"]] == values
