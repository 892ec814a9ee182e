from pathlib import Path

import pytest

from medpref.errors import InputError
from medpref.evaluation.log import LogHeader, read_log
from medpref.evaluation.predict import make_log
from medpref.evaluation.tasks import tasks
from medpref.files import read_jsonl, write_jsonl
from medpref.pairs.sample import Sample, read_samples, write_samples

ATTRIBUTES = {"organ": "chest", "modality": "CT"}


def test_attributes_go_with_the_samples(tmp_path: Path) -> None:
    samples = [Sample("a", "?", (), "yes", attributes=ATTRIBUTES), Sample("b", "?", (), "no")]
    path = tmp_path / "samples.jsonl"
    write_samples(path, samples)
    assert read_samples(path) == samples
    assert [("attributes" in row) for _, row in read_jsonl(path)] == [True, False]
    assert len(set(samples)) == 2


def test_broken_attributes_are_no_sample(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    write_jsonl(path, [{**Sample("a", "?", (), "yes").to_row(tmp_path), "attributes": ["chest"]}])
    with pytest.raises(InputError, match="line 1"):
        read_samples(path)


def test_attributes_go_into_the_log(tmp_path: Path) -> None:
    sample = Sample("a", "?", (), "yes", closed=True, attributes=ATTRIBUTES)
    header = LogHeader("s", "b", "m", 0, "vqa", 1, "normal", "test")
    log = make_log(header, tasks["vqa"], [sample], ["yes"], tmp_path)
    assert log.records[0].attributes == ATTRIBUTES
    log.write(tmp_path / "log.jsonl")
    assert read_log(tmp_path / "log.jsonl") == log


def test_logs_without_attributes_are_read(tmp_path: Path) -> None:
    header = LogHeader("s", "b", "m", 0, "vqa", 1, "normal", "test")
    log = make_log(header, tasks["vqa"], [Sample("a", "?", (), "yes", closed=True)], ["yes"], tmp_path)
    path = tmp_path / "log.jsonl"
    log.write(path)
    rows = [row for _, row in read_jsonl(path)]
    del rows[1]["attributes"]
    write_jsonl(path, rows)
    assert read_log(path) == log
