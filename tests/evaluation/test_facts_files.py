import json
from pathlib import Path
from typing import Any

import pytest

from medpref.errors import InputError
from medpref.evaluation.facts.batch_rows import read_replies
from medpref.evaluation.facts.files import read_facts, read_texts
from medpref.evaluation.facts.matching import match_ids

FACTS = ["The heart is enlarged.", "There is no effusion."]


def write(path: Path, *values: Any) -> Path:
    path.write_text("\n".join(v if isinstance(v, str) else json.dumps(v) for v in values), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "value",
    [
        FACTS,
        [{"fact": fact} for fact in FACTS],
        [{"text": fact, "id": 1} for fact in FACTS],
        json.dumps(FACTS),
        str(FACTS),
        f"Atomic facts:\n1. {FACTS[0]}\n2. {FACTS[1]}",
        f"```json\n{json.dumps(FACTS)}\n```",
        f"1. {FACTS[0]}\n2. {FACTS[1]}",
        f"1) {FACTS[0]}\n\n 2) {FACTS[1]}\n",
        f"- {FACTS[0]}\n- {FACTS[1]}",
        "\n".join(FACTS),
        {"atomic_facts": FACTS},
        [*FACTS, "", "  "],
    ],
)
def test_facts_in_any_of_these_shapes_are_read(value: Any, tmp_path: Path) -> None:
    (row,) = read_facts(write(tmp_path / "f.json", [{"id": 17, "atomic_facts": value}]))
    assert (row.id, row.facts, row.fault) == ("17", tuple(FACTS), None)


@pytest.mark.parametrize(
    "values",
    [
        ([{"id": 1, "atomic_facts": FACTS}, {"id": "b", "atomic_facts": FACTS}],),
        ({"id": 1, "atomic_facts": FACTS}, {"id": "b", "atomic_facts": FACTS}),
        ({"1": FACTS, "b": FACTS},),
        ({"1": {"atomic_facts": FACTS}, "b": {"atomic_facts": FACTS}},),
        ({"facts": [{"id": 1, "atomic_facts": FACTS}, {"id": "b", "atomic_facts": FACTS}]},),
        ({"data": [{"id": 1.0, "atomic_facts": FACTS}, {"id": " b ", "atomic_facts": FACTS}], "version": 1},),
        ("\ufeff" + json.dumps([{"id": 1, "atomic_facts": FACTS}, {"id": "b", "atomic_facts": FACTS}]),),
    ],
)
def test_files_in_any_of_these_shapes_are_read(values: tuple[Any, ...], tmp_path: Path) -> None:
    rows = read_facts(write(tmp_path / "f.json", *values))
    assert [(row.id, row.facts) for row in rows] == [("1", tuple(FACTS)), ("b", tuple(FACTS))]


def test_rows_that_cannot_be_scored_are_kept_with_the_reason(tmp_path: Path) -> None:
    odd = [
        {"id": 1, "atomic_facts": []},
        {"id": 2},
        {"atomic_facts": FACTS},
        "x",
        {"id": 3, "atomic_facts": [4]},
    ]
    rows = read_facts(write(tmp_path / "f.json", [{"id": 0, "atomic_facts": FACTS}, *odd]))
    assert [row.fault for row in rows] == [
        None,
        "no facts",
        "no facts",
        "the row has no id",
        "the row is no object",
        "a fact is no text",
    ]


def test_intervals_are_clustered_by_patient_or_image(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "atomic_facts": FACTS, "patient_id": 7, "image": "a.png"},
        {"id": 2, "atomic_facts": FACTS, "image_path": ["b.png", "c.png"]},
        {"id": 3, "atomic_facts": FACTS},
    ]
    assert [row.cluster for row in read_facts(write(tmp_path / "f.json", rows))] == ["7", "b.png", "3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "empty"), ('{"id": 1', "no JSON"), ("3", "neither"), ("[]", "no row"), ('[{"id": 1}]', "no row")],
)
def test_a_file_that_cannot_be_used_says_why(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_facts(write(tmp_path / "f.json", text))


def test_a_missing_file_a_folder_and_other_bytes_say_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_facts(tmp_path / "none.json")
    with pytest.raises(InputError, match="folder"):
        read_facts(tmp_path)
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_facts(tmp_path / "b.json")


@pytest.mark.parametrize("key", ["response", "text", "prediction", "answer"])
def test_responses_by_any_of_these_names_are_read(key: str, tmp_path: Path) -> None:
    assert read_texts(write(tmp_path / "r.jsonl", {"id": 1, key: "A"}, {"id": "b", key: ""})) == {
        "1": "A",
        "b": "",
    }


def test_an_id_with_two_texts_and_a_row_without_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="different texts"):
        read_texts(write(tmp_path / "r.jsonl", {"id": 1, "text": "A"}, {"id": "1", "text": "B"}))
    with pytest.raises(InputError, match="no text"):
        read_texts(write(tmp_path / "r.jsonl", {"id": 1, "other": "A"}))


def test_responses_may_be_empty_and_are_left_out_where_they_are_not_sure(tmp_path: Path) -> None:
    rows = [{"id": 1, "response": None}, {"id": 2, "response": "A"}, {"id": 2, "response": "B"}, {"id": 3}]
    assert read_texts(write(tmp_path / "r.jsonl", *rows), strict=False) == {"1": ""}


def body(content: Any) -> Any:
    return {"choices": [{"message": {"role": "assistant", "content": content}}]}


@pytest.mark.parametrize(
    "row",
    [
        {"response": {"status_code": 200, "body": body("L")}, "error": None},
        {"response": {"body": body([{"type": "text", "text": "L"}])}},
        {"response": body("L")},
        body("L"),
        {"response": "L"},
        {"content": "L"},
    ],
)
def test_the_content_of_a_reply_is_found(row: Any, tmp_path: Path) -> None:
    (reply,) = read_replies(write(tmp_path / "r.jsonl", {"custom_id": 5, **row}))
    assert (reply.custom_id, reply.content, reply.error) == ("5", "L", None)


def test_labels_that_are_no_text_are_read_as_json(tmp_path: Path) -> None:
    (reply,) = read_replies(
        write(tmp_path / "r.jsonl", {"custom_id": "a", "response": {"body": body(["E"])}})
    )
    assert reply.content == '["E"]'


def test_failed_rows_and_broken_lines_are_kept_with_the_reason(tmp_path: Path) -> None:
    rows = read_replies(
        write(
            tmp_path / "r.jsonl",
            {"custom_id": "a", "response": None, "error": {"code": "batch_expired", "message": "too late"}},
            {"custom_id": "b", "response": {"status_code": 429, "body": {}}, "error": None},
            {"custom_id": "c", "response": {"status_code": 200, "body": body(None)}},
            {"response": {"body": body("L")}},
            '{"custom_id": "d", "resp',
        )
    )
    assert [(row.custom_id, row.content) for row in rows] == [
        ("a", None),
        ("b", None),
        ("c", None),
        *[(None, None)] * 2,
    ]
    assert [row.error for row in rows] == [
        "the request failed: too late",
        "the request failed with status 429",
        "the row holds no reply",
        "the row has no custom_id",
        "the line is no JSON object, perhaps cut short",
    ]


def test_replies_may_be_an_array_and_a_file_without_any_is_refused(tmp_path: Path) -> None:
    row = {"custom_id": "a", "response": {"body": body("L")}}
    assert len(read_replies(write(tmp_path / "r.json", [row, row]))) == 2
    for text in ("", "nothing", "[1, 2]"):
        with pytest.raises(InputError):
            read_replies(write(tmp_path / "r.json", text))


def owners(ids: list[str], names: list[str]) -> dict[str, str]:
    return match_ids(ids, names).owner


@pytest.mark.parametrize(
    "form", ["{}", "task-{}", "request-{}", "{}_0", "req_{}_0", "task {}", "q{}", "a/{}.png"]
)
def test_custom_ids_with_something_around_the_id_are_matched(form: str) -> None:
    ids = ["1", "10", "17", "170"]
    names = [form.format(ident) for ident in ids]
    assert owners(ids, names) == dict(zip(names, ids, strict=True))


def test_an_id_that_others_begin_with_is_not_mistaken() -> None:
    assert owners(["1", "10"], ["10", "100"]) == {"10": "10"}
    assert match_ids(["1", "10"], ["task-100"]).strange == ["task-100"]


def test_the_whole_id_comes_first() -> None:
    found = match_ids(["17", "0"], ["17", "17_0", "0"])
    assert found.owner == {"17": "17", "0": "0"}
    assert not found.ambiguous or found.ambiguous == {"17_0": ("0", "17")}


def test_a_custom_id_that_may_mean_two_samples_is_ambiguous() -> None:
    assert match_ids(["17", "0"], ["17_0"]).ambiguous == {"17_0": ("0", "17")}
    assert match_ids(["17", "18", "0", "1"], ["17_0", "18_1"]).owner == {}


def test_all_custom_ids_together_may_decide() -> None:
    # The number behind is the same in all, so it names no sample.
    assert owners(["0", "17", "18"], ["17_0", "18_0"]) == {"17_0": "17", "18_0": "18"}
    # Random numbers behind are samples' numbers now and then, and not in every custom_id.
    names = ["1_523", "2_3", "3_777"]
    assert owners(["1", "2", "3"], names) == dict(zip(names, "123", strict=True))
    assert owners(["1", "2"], ["batch-1-1", "batch-1-2"]) == {"batch-1-1": "1", "batch-1-2": "2"}


def test_ids_with_signs_in_them_are_matched_whole() -> None:
    ids = ["s-1", "s-2", "s"]
    assert owners(ids, ["task-s-1", "task-s-2"]) == {"task-s-1": "s-1", "task-s-2": "s-2"}
