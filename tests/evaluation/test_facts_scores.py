import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from medpref.cli import app
from medpref.errors import InputError
from medpref.evaluation.facts.batch_rows import ReplyRow, read_replies
from medpref.evaluation.facts.document import build_document
from medpref.evaluation.facts.files import FactRow, read_facts
from medpref.evaluation.facts.labels import Label
from medpref.evaluation.facts.legacy import score_legacy
from medpref.evaluation.facts.scores import Scores, f1, label_scores, score_replies, with_precision
from medpref.files import read_json, write_json

E, P, N, C = Label.ENTAILMENT, Label.PARTIAL, Label.NEUTRAL, Label.CONTRADICTION
runner = CliRunner()
KEYS = [
    "id",
    "custom_id",
    "response",
    "body",
    "choices",
    "message",
    "content",
    "error",
    "atomic_facts",
    "fact",
]


def facts(ident: str, count: int, cluster: str | None = None) -> FactRow:
    return FactRow(ident, tuple(f"fact {n}" for n in range(count)), cluster or ident)


def reply(ident: str, *labels: str, content: str | None = None) -> ReplyRow:
    numbered = json.dumps([f"{n}. {label}" for n, label in enumerate(labels, start=1)])
    return ReplyRow(1, ident, numbered if content is None else content)


def by_id(scores: Scores) -> dict[str, tuple[dict[str, float], str | None]]:
    return {sample.id: (sample.scores, sample.reason) for sample in scores.samples}


def figures(scores: Scores, *, legacy: bool = False) -> tuple[Any, Any, int, int]:
    document = build_document(scores, legacy=legacy)
    return document["comp"], document["hall"], document["n"], document["unscored"]


def test_comp_and_hall_by_hand() -> None:
    # Two entailed, one partial, one contradicted, two neutral: comp (2 + ½)/6, hall 1/6.
    assert label_scores([E, E, P, C, N, N]) == {"comp": 2.5 / 6, "hall": 1 / 6}
    assert label_scores([N]) == {"comp": 0, "hall": 0}
    with pytest.raises(ValueError, match="no facts"):
        label_scores([])


def test_the_average_is_over_samples_and_not_over_facts() -> None:
    rows = [facts("a", 1), facts("b", 4)]
    replies = [
        reply("a", "Entailment"),
        reply("b", "Neutral", "Neutral", "Contradiction", "Partial Entailment"),
    ]
    comp, hall, n, unscored = figures(score_replies(rows, replies))
    assert comp == pytest.approx((1 + 0.5 / 4) / 2)
    assert hall == pytest.approx((0 + 1 / 4) / 2)
    assert (n, unscored) == (2, 0)


def test_precision_and_f1_by_hand() -> None:
    forward = score_replies(
        [facts("a", 2), facts("b", 1)], [reply("a", "Entailment", "Neutral"), reply("b", "Neutral")]
    )
    backward = score_replies(
        [facts("a", 4), facts("b", 1)],
        [reply("a", "Entailment", "Neutral", "Neutral", "Neutral"), reply("b", "Neutral")],
    )
    both = build_document(with_precision(forward, backward))
    # a: p ¼, r ½, F1 = 2·⅛/¾ = ⅓; b: 0 and 0.
    assert both["precision"] == pytest.approx((1 / 4 + 0) / 2)
    assert both["f1"] == pytest.approx((1 / 3 + 0) / 2)
    assert (both["n_precision"], both["n_f1"]) == (2, 2)
    assert f1(0.0, 0.0) == 0


def test_a_sample_that_is_scored_one_way_only_has_no_f1() -> None:
    forward = score_replies(
        [facts("a", 1), facts("b", 1)], [reply("a", "Entailment"), reply("b", content="?")]
    )
    backward = score_replies([facts("b", 1)], [reply("b", "Entailment")])
    both = build_document(with_precision(forward, backward))
    assert (both["n"], both["unscored"], both["n_precision"], both.get("f1")) == (1, 1, 1, None)


def test_what_cannot_be_read_is_unscored_and_no_zero() -> None:
    rows = [facts(name, 2) for name in ("good", "prose", "short", "gone", "failed")] + [facts("none", 0)]
    rows[-1] = FactRow("none", (), "none", "no facts")
    replies = [
        reply("good", "Entailment", "Entailment"),
        reply("prose", content="I cannot tell."),
        reply("short", "Entailment"),
        ReplyRow(4, "failed", None, "the request failed: batch_expired"),
    ]
    scores = score_replies(rows, replies)
    assert figures(scores) == (1, 0, 1, 5)
    assert {ident: reason for ident, (_, reason) in by_id(scores).items() if reason} == {
        "prose": "no list of labels is in the reply",
        "short": "1 labels for 2 facts",
        "gone": "no reply",
        "failed": "the request failed: batch_expired",
        "none": "no facts",
    }


def test_several_replies_to_one_sample() -> None:
    rows = [facts(name, 1) for name in ("same", "differ", "again")]
    replies = [
        *[reply("same", "Entailment"), reply("same", content='["entailment"]')],
        *[reply("differ", "Entailment"), reply("differ", "Neutral")],
        *[
            reply("again", content="oops"),
            reply("again", "Contradiction"),
            ReplyRow(6, "again", None, "failed"),
        ],
    ]
    scores = score_replies(rows, replies)
    found = by_id(scores)
    assert found["same"] == ({"comp": 1, "hall": 0}, None)
    assert found["differ"] == ({}, "2 replies with different labels")
    assert found["again"] == ({"comp": 0, "hall": 1}, None)
    assert "3 samples have several replies" in scores.notes[-1]


def test_rows_of_facts_that_share_an_id() -> None:
    scores = score_replies(
        [facts("same", 1), facts("same", 1), facts("differ", 1), facts("differ", 2)],
        [reply("same", "Entailment"), reply("differ", "Entailment")],
    )
    assert figures(scores) == (1, 0, 1, 2)
    assert scores.notes == ("1 rows of facts repeat another row and count once",)


def test_no_scored_sample_is_no_figure() -> None:
    document = build_document(score_replies([facts("a", 1)], [reply("b", "Entailment")]))
    assert (document["comp"], document["hall"], document["n"], document["unscored"]) == (None, None, 0, 1)
    assert document["intervals"] == {"comp": None, "hall": None}


def test_intervals_are_over_clusters() -> None:
    labels = ["Entailment", "Neutral"] * 20
    rows = [facts(f"s{n}", 1, cluster=f"c{n // 2}") for n in range(40)]
    replies = [reply(f"s{n}", label) for n, label in enumerate(labels)]
    # Each cluster holds a 1 and a 0: no resample of clusters has another mean.
    assert build_document(score_replies(rows, replies))["intervals"]["comp"] == pytest.approx([0.5, 0.5])
    alone = [facts(f"s{n}", 1) for n in range(40)]
    low, high = build_document(score_replies(alone, replies))["intervals"]["comp"]
    assert low < 0.4 < 0.6 < high


# The faults of the released script: ours is right, and --legacy gives the script's number.


def both(rows: list[FactRow], replies: list[ReplyRow]) -> tuple[Any, Any]:
    return figures(score_replies(rows, replies)), figures(score_legacy(rows, replies), legacy=True)


def test_fault_a_json_failure_is_averaged_in_as_zero() -> None:
    rows = [facts("a", 2), facts("b", 2)]
    fenced = '```json\n["1. Contradiction", "2. Entailment"]\n```'
    ours, theirs = both(rows, [reply("a", "Entailment", "Entailment"), reply("b", content=fenced)])
    assert ours == (0.75, 0.25, 2, 0)
    assert theirs == (0.5, 0, 2, 0)
    ours, theirs = both(rows, [reply("a", "Entailment", "Entailment"), reply("b", content="?")])
    assert ours == (1, 0, 1, 1)
    assert theirs == (0.5, 0, 2, 0)


def test_fault_labels_in_other_letter_case_are_dropped() -> None:
    rows = [facts("a", 4)]
    ours, theirs = both(rows, [reply("a", "entailment", "CONTRADICTION", "Partial entailment", "Entailment")])
    assert ours == (2.5 / 4, 1 / 4, 1, 0)
    assert theirs == (1 / 4, 0, 1, 0)


def test_fault_an_id_takes_the_labels_of_one_that_begins_with_it() -> None:
    rows = [facts("1", 1), facts("10", 1)]
    ours, theirs = both(rows, [reply("10", "Contradiction"), reply("1", "Entailment")])
    assert ours == (0.5, 0.5, 2, 0)
    assert theirs == (0, 1, 2, 0)
    # The first in the file's order is taken, so that the other order is right.
    assert both(rows, [reply("1", "Entailment"), reply("10", "Contradiction")])[1] == (0.5, 0.5, 2, 0)


def test_fault_the_number_of_facts_is_not_looked_at() -> None:
    ours, theirs = both([facts("a", 4)], [reply("a", "Entailment")])
    assert ours == (None, None, 0, 1)
    assert theirs == (1, 0, 1, 0)


def test_fault_rows_with_the_same_id_collapse() -> None:
    rows = [facts("a", 1), facts("a", 2), facts("b", 1)]
    ours, theirs = both(rows, [reply("a", "Entailment"), reply("b", "Neutral")])
    assert ours == (0, 0, 1, 2)
    assert theirs == (0.5, 0, 2, 0)


def test_fault_requests_without_a_result_are_dropped() -> None:
    rows = [facts("a", 1), facts("b", 1)]
    ours, theirs = both(
        rows, [reply("a", "Entailment"), ReplyRow(2, "b", None, "the request failed: expired")]
    )
    assert ours == theirs == (1, 0, 1, 1)


@pytest.mark.parametrize("content", ["[]", "{}", "3", '{"labels": ["Entailment"]}', "[1, null]", ""])
def test_legacy_survives_whatever_is_no_list_of_labels(content: str) -> None:
    scores = score_legacy([facts("a", 1)], [reply("a", content=content)])
    assert figures(scores, legacy=True) == (0, 0, 1, 0)


# The command.


def row(ident: Any, content: Any) -> dict[str, Any]:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}
    return {
        "id": f"batch_req_{ident}",
        "custom_id": ident,
        "response": {"status_code": 200, "body": body},
        "error": None,
    }


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    rows = [{"id": n, "atomic_facts": ["a", "b"]} for n in range(1, 5)]
    (tmp_path / "facts.json").write_text(json.dumps(rows))
    replies = [
        row("task-1", '["1. Entailment", "2. Contradiction"]'),
        row("task-2", '```json\n["1. entailment" "2. partial entailment"]\n```'),
        row("task-3", "I am sorry."),
    ]
    (tmp_path / "replies.jsonl").write_text("".join(json.dumps(each) + "\n" for each in replies))
    (tmp_path / "responses.jsonl").write_text(
        '{"id": 1, "response": "A b c"}\n{"id": "2", "response": " "}\n'
    )
    named = {"facts": "facts.json", "replies": "replies.jsonl", "out": "out.json"}
    return [
        "facts",
        "score",
        *(part for key, name in named.items() for part in (f"--{key}", str(tmp_path / name))),
    ]


def test_the_command_prints_and_writes(files: list[str], tmp_path: Path) -> None:
    result = runner.invoke(app, [*files, "--responses", str(tmp_path / "responses.jsonl")])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("comp: 0.6250 [0.5000, 0.7500]")
    assert lines[1].startswith("hall: 0.2500 [0.0000, 0.5000]")
    assert lines[2:4] == ["n: 2", "unscored: 2"]
    assert "1 empty, 2 missing, distinct-output rate 1.0000, mean length 1.5 words" in result.output
    document = read_json(tmp_path / "out.json")
    assert {key: document[key] for key in ("comp", "hall", "n", "unscored")} == {
        "comp": 0.625,
        "hall": 0.25,
        "n": 2,
        "unscored": 2,
    }
    assert document["samples"][0] == {
        "id": "1",
        "comp": 0.5,
        "hall": 0.5,
        "labels": ["Entailment", "Contradiction"],
        "reason": None,
        "response": "A b c",
        "words": 3,
    }
    assert [sample["reason"] for sample in document["samples"][2:]] == [
        "no list of labels is in the reply",
        "no reply",
    ]


def test_the_command_reproduces_the_script(files: list[str], tmp_path: Path) -> None:
    result = runner.invoke(app, [*files, "--legacy"])
    document = read_json(tmp_path / "out.json")
    assert (document["comp"], document["n"], document["unscored"]) == (pytest.approx(0.5 / 3), 3, 1)
    assert "released script" in result.output


def test_files_that_cannot_be_used_give_an_input_error(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text("oops")
    result = runner.invoke(app, files)
    assert result.exception is not None
    assert getattr(result.exception, "exit_code", None) == 2
    assert "facts.json" in str(result.exception)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(replies=st.lists(ANYTHING, max_size=6), rows=st.lists(ANYTHING, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_makes_it_stumble(replies: list[Any], rows: list[Any], tmp_path: Path) -> None:
    """Whatever stands beside one good row and reply: figures come, or an error with a message."""
    good = {"id": "17", "atomic_facts": ["a"]}
    (tmp_path / "facts.json").write_text(json.dumps([good, *rows]))
    lines = [row("17", '["Entailment"]'), *replies, *(row("x", each) for each in replies)]
    (tmp_path / "replies.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    read = read_facts(tmp_path / "facts.json"), read_replies(tmp_path / "replies.jsonl")
    for score in (score_replies, score_legacy):
        write_json(tmp_path / "out.json", build_document(score(*read)))


@given(data=st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_make_it_stumble(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    path.write_bytes(json.dumps(row("1", '["Entailment"]')).encode() + b"\n" + data)
    document = build_document(score_replies([facts("1", 1)], read_replies(path)))
    assert document["n"] + document["unscored"] == 1
    with contextlib.suppress(InputError):
        path.write_bytes(data)
        read_facts(path)
