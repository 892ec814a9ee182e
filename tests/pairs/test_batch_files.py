"""Batch files and what comes back, apart from what is asked."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.generation.servers import completion
from tests.pairs.writers import swap

from medpref.errors import InputError, RunError
from medpref.files import read_json, read_jsonl
from medpref.pairs.llm import batch
from medpref.pairs.llm.batch import read_results, write_batch
from medpref.pairs.llm.request import Refusal, Reply
from medpref.pairs.pair import Pair, ResponseRole
from medpref.pairs.recipes import RecipeContext, response_recipes
from medpref.pairs.recipes.written import REPORT

PRICES = {"input": 0, "output": 1000.0}


def write(
    folder: Path, pairs: list[Pair], *results: Path, **settings: Any
) -> tuple[list[Pair], RecipeContext]:
    context = RecipeContext(0, folder)
    own = {
        "endpoint": "https://api.example.org/v1",
        "model": "tiny",
        "cache": folder / "cache",
        "mode": "batch",
        "batch_file": folder / "batch.jsonl",
        "results_file": results,
        **settings,
    }
    return response_recipes["llm-write"].run(pairs, own, context), context


def bare(count: int) -> list[Pair]:
    chosen = {ResponseRole.CHOSEN: "In the left lung"}
    return [Pair(f"p{n}", f"Where is lesion {n}?", {}, chosen, kind="position") for n in range(count)]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("batch*.jsonl")) for _, row in read_jsonl(path)]


def result(row: dict[str, Any]) -> dict[str, Any]:
    usage = {"prompt_tokens": 10, "completion_tokens": 20}
    body = completion(swap(row["body"]), usage=usage)
    return {
        "id": "x",
        "custom_id": row["custom_id"],
        "response": {"status_code": 200, "body": body},
        "error": None,
    }


def save(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_outputs_and_errors_come_in_two_files(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="4 requests"):
        write(tmp_path, bare(4))
    first, second, *rest = rows_of(tmp_path)
    output = save(tmp_path / "output.jsonl", [result(row) for row in rest])
    refused = {"status_code": 400, "body": {"error": {"message": "content policy"}}}
    expired = {"code": "batch_expired", "message": "too late"}
    errors = save(
        tmp_path / "errors.jsonl",
        [
            {"id": "y", "custom_id": first["custom_id"], "response": refused, "error": None},
            {"id": "z", "custom_id": second["custom_id"], "response": None, "error": expired},
        ],
    )
    with pytest.raises(RunError, match="1 requests are written here"):
        write(tmp_path, bare(4), output, errors)
    assert [row["custom_id"] for row in rows_of(tmp_path)] == [second["custom_id"]]
    late = save(tmp_path / "late.jsonl", [result(second)])
    nothing = save(tmp_path / "nothing.jsonl", [])
    made, context = write(tmp_path, bare(4), output, errors, late, nothing)
    assert len(made) == 3
    assert "content policy" in context.left_out[0].reason


def test_results_that_are_there_cost_nothing_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prices = {"prices": PRICES, "max_tokens": 50, "max_cost": 0.2}
    with pytest.raises(RunError, match="4 requests"):
        write(tmp_path, bare(4), **prices)
    assert "4 requests" in capsys.readouterr().err
    output = save(tmp_path / "output.jsonl", [result(row) for row in rows_of(tmp_path)])
    made, _ = write(tmp_path, bare(4), output, **prices)
    assert len(made) == 4
    assert capsys.readouterr().err == ""
    assert read_json(tmp_path / REPORT)["replies"]["cost"] == pytest.approx(4 * 20 * 1000 / 1e6)


def test_a_batch_that_may_cost_too_much_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"4 requests may cost 0\.2"):
        write(tmp_path, bare(4), prices=PRICES, max_tokens=50, max_cost=0.1)
    assert rows_of(tmp_path) == []


def test_an_image_that_cannot_be_read_leaves_its_pair_out(
    tmp_path: Path, make_image: Any, make_pair: Any
) -> None:
    broken = make_image("broken.png")
    broken.write_bytes(b"no image")
    pairs = [make_pair("a", (make_image("a.png"),)), make_pair("b", (broken,))]
    with pytest.raises(RunError, match="1 requests are written"):
        write(tmp_path, pairs, allow_images=True)
    (row,) = rows_of(tmp_path)
    assert "data:image/png;base64," in json.dumps(row)
    made, context = write(tmp_path, pairs, save(tmp_path / "out.jsonl", [result(row)]), allow_images=True)
    assert [pair.id for pair in made] == ["a"]
    assert [left.id for left in context.left_out] == ["b"]


def test_what_one_file_cannot_hold_goes_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST_REQUESTS", 2)
    with pytest.raises(RunError, match="5 requests") as caught:
        write(tmp_path, bare(5))
    files = [tmp_path / name for name in ("batch.jsonl", "batch.part-2.jsonl", "batch.part-3.jsonl")]
    assert caught.value.where == ", ".join(map(str, files))
    assert [len(list(read_jsonl(path))) for path in files] == [2, 2, 1]
    outputs = [
        save(tmp_path / f"out-{n}.jsonl", [result(row) for _, row in read_jsonl(p)])
        for n, p in enumerate(files)
    ]
    with pytest.raises(RunError, match="1 requests"):
        write(tmp_path, bare(5), *outputs[:2])
    assert [path.exists() for path in files] == [True, False, False]
    assert len(write(tmp_path, bare(5), *outputs)[0]) == 5


def test_a_file_keeps_to_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST_BYTES", 10)

    def lines() -> Iterator[bytes]:
        # Two fit exactly; one that is too large alone has a file of its own.
        yield from (b"1234\n", b"5678\n", b"9\n", b"far too long for it\n", b"0\n")

    files = write_batch(tmp_path / "b.jsonl", lines())
    assert [path.read_bytes() for path in files] == [
        b"1234\n5678\n",
        b"9\n",
        b"far too long for it\n",
        b"0\n",
    ]


def test_the_users_own_files_stay(tmp_path: Path) -> None:
    for name in ("b-2.jsonl", "b.part-2.jsonl.bak", "other.part-2.jsonl"):
        (tmp_path / name).write_text("mine")
    write_batch(tmp_path / "b.jsonl", [b"1\n"])
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"response": {"status_code": 500, "body": None}}, None),
        ({"response": None, "error": {"code": "batch_cancelled"}}, None),
        ({"response": None, "error": {"code": "other"}}, Refusal("the batch failed: {'code': 'other'}")),
        ({"response": {"status_code": [200]}}, Refusal("the batch failed: {'status_code': [200]}")),
        ({"response": {"status_code": 200, "body": completion("hi")}}, Reply("hi", "stop", None, 5)),
        (
            {"response": {"status_code": 200, "body": completion("hi", "tool_calls")}},
            Refusal(
                "the answer ended for another reason than its end or length: 'tool_calls'",
                Reply("hi", "length", None, 5),
            ),
        ),
    ],
)
def test_results_are_read(tmp_path: Path, row: dict[str, Any], expected: Any) -> None:
    path = save(tmp_path / "r.jsonl", [{"custom_id": "a", **row}])
    assert read_results(path) == ({} if expected is None else {"a": expected})


def test_a_batch_file_is_no_results_file(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        write(tmp_path, bare(2))
    with pytest.raises(InputError, match=r"line 1: .*neither response nor error"):
        read_results(tmp_path / "batch.jsonl")
    with pytest.raises(ValidationError, match="written over"):
        write(tmp_path, bare(2), tmp_path / "batch.jsonl")
