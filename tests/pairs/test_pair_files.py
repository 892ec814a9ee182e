import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medpref.errors import InputError
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.store import PairFile, group_by_image, read_pairs


def row(ident: object = "a", **changes: Any) -> dict[str, Any]:
    sound = {"id": ident, "question": "Where?", "image": "ok.png", "chosen": "Left", "rejected": "Right"}
    return {key: value for key, value in {**sound, **changes}.items() if value is not ...}


@pytest.fixture
def folder(make_image) -> Path:
    return make_image("ok.png").parent


def write(folder: Path, *rows: Any, name: str = "pairs.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), "utf-8")
    return path


def reasons(read: PairFile) -> list[tuple[int, str | None, str]]:
    return [(bad.line, bad.id, bad.reason) for bad in read.quarantined]


def test_a_file_may_mix_shapes(folder: Path) -> None:
    turns = [{"from": "human", "value": "<image>\nWhy?"}, {"from": "gpt", "value": "Because"}]
    read = read_pairs(
        write(
            folder,
            row(1),
            {"id": "2", "image": "ok.png", "conversations": turns},
            {"id": 3, "images": ["ok.png"], "prompt": "<image>Where?", "chosen": "L", "rejected": "R"},
            {"id": "x", "prompt": "Why?", "responses": {"chosen": "Because"}},
        )
    )
    assert [pair.id for pair in read.pairs] == ["1", "2", "3", "x"]
    assert read.quarantined == ()
    assert read.summary() == "pairs.jsonl: 4 pairs"


def test_a_json_array_is_numbered_by_row(folder: Path) -> None:
    path = folder / "pairs.json"
    path.write_text("\n " + json.dumps([row("a"), row("b", image="gone.png"), 3], indent=2))
    read = read_pairs(path)
    assert [pair.id for pair in read.pairs] == ["a"]
    assert [bad.line for bad in read.quarantined] == [2, 3]
    assert read.quarantined[1].reason == "a row must be a JSON object, this is int"


def test_parquet_with_hugging_face_images(folder: Path) -> None:
    user = [{"role": "user", "content": "<image>\nWhere?"}]
    made = {
        "id": [1, 2],
        "images": [[{"bytes": None, "path": "ok.png"}]] * 2,
        "prompt": [user] * 2,
        "chosen": [[{"role": "assistant", "content": text}] for text in ("Left", "")],
        "rejected": [[{"role": "assistant", "content": "Right"}]] * 2,
    }
    pq.write_table(pa.table(made), folder / "pairs.parquet")
    read = read_pairs(folder / "pairs.parquet")
    assert [pair.prompt for pair in read.pairs] == ["<image>\nWhere?"]
    assert reasons(read) == [(2, "2", "the chosen response is empty")]


def test_a_byte_order_mark_and_crlf_are_no_matter(folder: Path) -> None:
    path = folder / "pairs.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(json.dumps(row(n)).encode() for n in range(3)) + b"\r\n")
    assert [pair.id for pair in read_pairs(path).pairs] == ["0", "1", "2"]


def test_a_line_cut_short_is_put_aside_with_its_number(folder: Path) -> None:
    path = write(folder, row("a"), "", row("b"))
    path.write_text(path.read_text()[:-20])
    read = read_pairs(path)
    assert [pair.id for pair in read.pairs] == ["a"]
    assert [(bad.line, bad.id) for bad in read.quarantined] == [(3, None)]
    assert "the line is no JSON, perhaps cut short" in read.quarantined[0].reason


FAULTS = [
    (row(question="  "), "the prompt is empty"),
    (row(question="<image>"), "the prompt is empty"),
    (row(chosen=" "), "the chosen response is empty"),
    (row(rejected=""), "the rejected response is empty"),
    (row(rejected="Left "), "the chosen and the rejected response are equal"),
    (row(image="gone.png"), "the image is missing: "),
    (row(rejected_image=["ok.png", "ok.png"]), "2 rejected images for 1 clean ones"),
    (row(question="<image><image> Where?"), "2 <image> in the prompt for 1 images"),
    (row(image=...), None),
    (row(question="<image> Where?", image=...), "1 <image> in the prompt for 0 images"),
    (row(weight=-0.5), "the weight -0.5 is no finite number from 0 up"),
    (row(weight="nan"), "the weight nan is no finite number"),
    (row(weight="inf"), "the weight inf is no finite number"),
    (row(weight=0), None),
    (
        {"id": "a", "prompt": "Where?", "images": ["ok.png"], "chosen": "L"},
        "0 <image> in the prompt for 1 images",
    ),
]


@pytest.mark.parametrize(("bad", "reason"), FAULTS)
def test_each_fault_is_told_with_its_line(folder: Path, bad: dict[str, Any], reason: str | None) -> None:
    read = read_pairs(write(folder, row("first"), bad))
    if reason is None:
        assert len(read.pairs) == 2
    else:
        assert [(line, ident) for line, ident, _ in reasons(read)] == [(2, "a")]
        assert read.quarantined[0].reason.startswith(reason)


def test_a_lone_surrogate_is_a_fault(folder: Path) -> None:
    assert len(read_pairs(write(folder, row(chosen="Left \ud83e"))).quarantined) == 1


def test_a_missing_placeholder_is_a_fault_that_names_the_pair(folder: Path) -> None:
    bad = {"id": "mute", "prompt": "Where?", "images": ["ok.png"], "chosen": "L", "rejected": "R"}
    with pytest.raises(InputError, match="pair mute: 0 <image> in the prompt for 1 images"):
        read_pairs(write(folder, bad), fatal=True)


def test_all_faults_of_a_row_are_told(folder: Path) -> None:
    read = read_pairs(write(folder, row(chosen="", image="gone.png")))
    assert read.quarantined[0].reason.startswith("the chosen response is empty; the image is missing: ")


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_broken_image_is_found_by_decoding_it(folder: Path, damage: str) -> None:
    whole = (folder / "ok.png").read_bytes()
    data = {"cut": whole[: len(whole) // 2], "text": b"<html>404</html>", "empty": b""}[damage]
    (folder / "broken.png").write_bytes(data)
    path = write(folder, row(image="broken.png"))
    assert read_pairs(path).quarantined[0].reason.startswith("the image cannot be read (")
    assert len(read_pairs(path, verify_images=False).pairs) == 1


def test_a_broken_mask_is_a_fault(folder: Path) -> None:
    whole = {
        "id": "a",
        "prompt": "<image> Where?",
        "images": {"clean": "ok.png"},
        "responses": {"chosen": "L"},
    }
    read = read_pairs(write(folder, {**whole, "region": "gone.png"}))
    assert read.quarantined[0].reason.startswith("the image is missing: ")


def test_the_second_of_two_equal_ids_is_put_aside(folder: Path) -> None:
    read = read_pairs(write(folder, row(1), row("b"), row("1")))
    assert [pair.id for pair in read.pairs] == ["1", "b"]
    assert reasons(read) == [(3, "1", "the id is that of line 1")]


def test_rows_without_ids_get_those_of_their_lines(folder: Path) -> None:
    read = read_pairs(write(folder, row(...), row(...)))
    assert [pair.id for pair in read.pairs] == ["line-1", "line-2"]


def test_fatal_names_file_line_and_pair(folder: Path) -> None:
    path = write(folder, row("a"), row("b", chosen=""))
    with pytest.raises(InputError) as caught:
        read_pairs(path, fatal=True)
    assert caught.value.what == "the chosen response is empty"
    assert caught.value.where == f"{path}, line 2, pair b"
    assert "quarantine" in str(caught.value.remedy)


def test_images_may_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path, row())
    assert len(read_pairs(path).quarantined) == 1
    pair = read_pairs(path, images=folder).pairs[0]
    assert pair.images[ImageRole.CLEAN] == (folder / "ok.png",)


def test_the_summary_counts_by_reason(folder: Path) -> None:
    rows = [row("a"), row("b", image="x.png"), row("c", image="y.png"), row("d", chosen="")]
    assert read_pairs(write(folder, *rows)).summary() == (
        "pairs.jsonl: 1 pairs, 3 quarantined (2 × the image is missing, 1 × the chosen response is empty)"
    )


def test_the_quarantine_file_holds_the_rows(folder: Path) -> None:
    bad = row("b", chosen="")
    read_pairs(write(folder, row("a"), bad, "{")).write_quarantine(folder / "bad.jsonl")
    first, second = [json.loads(line) for line in (folder / "bad.jsonl").read_text().splitlines()]
    assert (first["line"], first["id"], first["reason"]) == (2, "b", "the chosen response is empty")
    assert json.loads(first["row"]) == bad
    assert (second["line"], second["id"], second["row"]) == (3, None, "{")


UNREADABLE = [
    ("pairs.jsonl", b"\xff\xfe\x00", "the file is no UTF-8 text"),
    ("pairs.json", b'[{"id": 1}', "the JSON array is broken"),
    ("pairs.parquet", b"PAR1", "the file is no readable Parquet"),
]


@pytest.mark.parametrize(("name", "data", "reason"), UNREADABLE)
def test_an_unreadable_file_is_an_error(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=reason):
        read_pairs(tmp_path / name)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such pair file"):
        read_pairs(tmp_path / "pairs.jsonl")


def test_an_empty_file_holds_no_pairs(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text("\n\n")
    assert read_pairs(tmp_path / "pairs.jsonl").pairs == ()


def pair(ident: str, *images: str) -> Pair:
    paths = {ImageRole.CLEAN: tuple(map(Path, images))} if images else {}
    return Pair(ident, "", paths, {ResponseRole.CHOSEN: "x"})


def test_groups_are_of_equal_images_in_order_of_first_sight() -> None:
    pairs = [pair("1", "a"), pair("2", "b"), pair("3", "a"), pair("4"), pair("5", "a", "b"), pair("6")]
    groups = group_by_image(pairs, largest=9)
    assert [[p.id for p in group] for group in groups] == [["1", "3"], ["2"], ["4"], ["5"], ["6"]]


def test_groups_are_cut_at_the_largest() -> None:
    groups = group_by_image([pair(str(n), "a") for n in range(5)], largest=2)
    assert [[p.id for p in group] for group in groups] == [["0", "1"], ["2", "3"], ["4"]]
