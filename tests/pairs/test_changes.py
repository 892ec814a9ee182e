"""What a rejected response has wrong is kept through files and forgotten with the response."""

import json
from pathlib import Path

import pytest

from medpref.pairs.pair import Change, ResponseRole
from medpref.pairs.store import read_pairs, write_pairs

CHANGE = Change("side", 7, 12, "left", "right")


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_changes_go_through_files(make_pair, tmp_path: Path, suffix: str) -> None:
    pair = make_pair("a", chosen="In the left lung.", refused="In the right lung.", changes=(CHANGE,))
    path = tmp_path / f"pairs.{suffix}"
    write_pairs(path, [pair, make_pair("b")])
    assert read_pairs(path).pairs == (pair, make_pair("b"))
    changed = pair.responses[ResponseRole.REJECTED][CHANGE.start : CHANGE.end]
    assert changed == CHANGE.now


def test_another_response_has_other_changes(make_pair) -> None:
    pair = make_pair("a", changes=(CHANGE,))
    assert pair.with_response(ResponseRole.REJECTED, "Below the liver.").changes == ()


def test_a_change_with_other_keys_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    row = {"id": "a", "prompt": "Q", "responses": {"chosen": "A"}, "changes": [{"kind": 1}]}
    path.write_text(json.dumps(row))
    (refused,) = read_pairs(path).quarantined
    assert "a change has the keys error, start, end, was, now" in refused.reason
