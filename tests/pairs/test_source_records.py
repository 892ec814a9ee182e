"""Rows of every file kind, with what is wrong in files that people have."""

import gzip
import json
from pathlib import Path

import pytest
from tests.pairs.source_replicas import write_array, write_lines, write_parquet

from medpref.errors import InputError
from medpref.pairs.sources import records
from medpref.pairs.sources.records import count_records, read_records


def test_quoted_cells_may_hold_line_ends_and_delimiters(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,text\n1,"two\nlines, and a comma"\n2,plain\n')
    rows = [(row.line, row.values) for row in read_records(path)]
    assert rows == [(2, {"id": "1", "text": "two\nlines, and a comma"}), (4, {"id": "2", "text": "plain"})]


@pytest.mark.parametrize(("delimiter", "name"), [(";", "a.csv"), ("\t", "a.tsv"), ("|", "a.txt")])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str, name: str) -> None:
    path = tmp_path / name
    path.write_text(f"id{delimiter}Frage, bitte\n1{delimiter}Wo?\n")
    assert [row.values for row in read_records(path)] == [{"id": "1", "Frage, bitte": "Wo?"}]


def test_a_row_of_another_length_has_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text\n1,a\n\n2\n3,b,c\n4,d\n")
    found = [(row.line, row.fault) for row in read_records(path)]
    assert found == [
        (2, None),
        (4, "the row has 1 cells for 2 columns"),
        (5, "the row has 3 cells for 2 columns"),
        (6, None),
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_row_in_another_encoding_has_a_fault_and_the_others_are_read(tmp_path: Path, name: str) -> None:
    lines = {"a.csv": ["text", "Größe", "klein"], "a.jsonl": ['{"text": "Größe"}', '{"text": "klein"}']}[name]
    (tmp_path / name).write_bytes("\n".join(lines).encode("latin-1") + b"\n")
    faults = [row.fault for row in read_records(tmp_path / name)]
    assert faults == ["the row is no utf-8 text", None]
    read = [row.values["text"] for row in read_records(tmp_path / name, encoding="latin-1")]
    assert read == ["Größe", "klein"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfid,text\n1,a\n")
    assert [row.values for row in read_records(path)] == [{"id": "1", "text": "a"}]


def test_packed_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"id,text\n1,a\n"))
    assert [row.values for row in read_records(path)] == [{"id": "1", "text": "a"}]


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_a_json_array_is_read_in_pieces_of_any_size(tmp_path: Path, chunk: int, monkeypatch) -> None:
    rows = [{"id": n, "text": '] [ , " é 😀', "inner": [{"a": [1, 2]}]} for n in range(20)]
    path = write_array(tmp_path / "a.json", rows)
    monkeypatch.setattr(records, "CHUNK", chunk)
    assert [row.values for row in read_records(path)] == rows
    assert [row.line for row in read_records(path)] == list(range(1, 21))


def test_an_array_cut_short_is_an_error_after_its_whole_entries(tmp_path: Path) -> None:
    path = write_array(tmp_path / "a.json", [{"id": 1}, {"id": 2}])
    path.write_text(path.read_text()[:-6])
    rows = read_records(path)
    assert next(rows).values == {"id": 1}
    with pytest.raises(InputError, match=r"perhaps cut short.*entry 2"):
        next(rows)


def test_an_empty_array_and_lines_under_the_name_json(tmp_path: Path) -> None:
    assert list(read_records(write_array(tmp_path / "a.json", []))) == []
    lines = write_lines(tmp_path / "b.json", [{"id": 1}, {"id": 2}])
    assert [row.values for row in read_records(lines)] == [{"id": 1}, {"id": 2}]


def test_entries_and_lines_that_are_no_objects_have_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[1, {"id": 2}]')
    (tmp_path / "a.jsonl").write_text('"text"\n{"id": 2}\n{"id": \n')
    assert [row.fault for row in read_records(tmp_path / "a.json")] == ["the entry is no object", None]
    first, second, third = (row.fault for row in read_records(tmp_path / "a.jsonl"))
    assert (first, second) == ("the line is no object", None)
    assert "perhaps cut short" in str(third)


def test_one_list_of_several_is_read_by_name(tmp_path: Path) -> None:
    path = tmp_path / "annotation.json"
    path.write_text(json.dumps({"train": [{"id": 1}], "val": []}))
    assert [row.values for row in read_records(path, key="train")] == [{"id": 1}]
    assert list(read_records(path, key="val")) == []


def test_parquet_is_read_in_batches(tmp_path: Path) -> None:
    rows = [{"id": number, "image": {"bytes": b"x", "path": None}} for number in range(records.BATCH + 3)]
    path = write_parquet(tmp_path / "a.parquet", rows)
    read = list(read_records(path))
    assert [row.values for row in read] == rows
    assert [row.line for row in read] == list(range(1, len(rows) + 1))
    assert count_records(path) == len(rows)


@pytest.mark.parametrize("name", ["a.pkl", "train_vqa.pickle"])
def test_pickles_are_refused_unopened(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(InputError, match="this is a pickle"):
        list(read_records(tmp_path / name))


def test_what_cannot_be_read_as_a_whole_is_an_error(tmp_path: Path) -> None:
    for name, content, message in (
        ("a.parquet", b"PAR1 broken", "no readable Parquet"),
        ("a.xls", b"", "are not read"),
        ("a.csv", b"", "the file is empty"),
        ("b.csv", b"id,id\n1,2\n", "two columns are called 'id'"),
        ("a.csv.gz", b"not packed", "cannot be read as"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            list(read_records(tmp_path / name))
    with pytest.raises(InputError, match="there is no such file"):
        list(read_records(tmp_path / "nowhere.csv"))
    with pytest.raises(InputError, match="no encoding called 'klingon'"):
        list(read_records(tmp_path / "b.csv", encoding="klingon"))


def test_a_row_is_shown_without_its_image(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [{"image": {"bytes": b"1234", "path": None}, "text": "é"}])
    assert next(read_records(path)).shown() == '{"image": {"bytes": "4 bytes", "path": null}, "text": "é"}'
