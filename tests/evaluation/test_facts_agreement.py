import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medpref.cli import app
from medpref.errors import InputError
from medpref.evaluation.agreement import cohen_kappa, krippendorff_alpha_nominal
from medpref.evaluation.facts.files import FactRow
from medpref.evaluation.facts.label_files import agreement, read_label_file
from medpref.evaluation.facts.labels import Label
from medpref.files import read_json

E, P, N, C = Label.ENTAILMENT, Label.PARTIAL, Label.NEUTRAL, Label.CONTRADICTION
runner = CliRunner()


def test_cohen_kappa_by_hand() -> None:
    # 50 proposals: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: p_o = 0.7, p_e = 0.5·0.6 + 0.5·0.4 = 0.5.
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert cohen_kappa(["a", "b"], ["b", "a"]) == -1
    assert cohen_kappa(["a", "b", None], ["a", "b", "a"]) == 1
    assert cohen_kappa(["a", "a"], ["a", "a"]) is None
    assert cohen_kappa([], []) is None


def test_krippendorff_alpha_by_hand() -> None:
    # Krippendorff's own example of two observers, 10 units of 0 and 1 (Computing Krippendorff's Alpha, 2011):
    # coincidences o(0,0) = 10, o(0,1) = o(1,0) = 4, o(1,1) = 2; α = 1 − 19·4/(14·6) = 0.095.
    first = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    second = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    units = list(zip(first, second, strict=True))
    assert krippendorff_alpha_nominal(units) == pytest.approx(1 - 19 * 4 / (14 * 6))


def test_krippendorff_alpha_with_missing_labels_by_hand() -> None:
    # Units aab, ab-, bbb; the unit with one label does not count. n = 8, n(a) = 3, n(b) = 5.
    # Pairs that differ: aab 4/2 = 2, ab 2/1 = 2, bbb 0. α = 1 − 7·4/(2·3·5).
    units = [("a", "a", "b"), ("a", "b", None), ("b", "b", "b"), ("a", None, None)]
    assert krippendorff_alpha_nominal(units) == pytest.approx(1 - 7 * 4 / 30)
    assert krippendorff_alpha_nominal([("a", "a"), ("a", None)]) is None
    assert krippendorff_alpha_nominal([]) is None


def test_samples_with_other_numbers_of_labels_are_left_out_and_counted() -> None:
    found = agreement({"a": {"1": (E, N), "2": (E,), "3": (C,)}, "b": {"1": (E, C), "2": (E, E), "4": (N,)}})
    assert (found.n, found.n_all, found.samples, found.left_out) == (2, 2, 1, 3)
    assert found.counts["b"] == {"Entailment": 1, "Partial Entailment": 0, "Neutral": 0, "Contradiction": 1}
    with pytest.raises(InputError, match="no sample"):
        agreement({"a": {"1": (E,)}, "b": {"2": (E,)}})


def test_three_judges() -> None:
    found = agreement({"a": {"1": (E, N)}, "b": {"1": (E, N)}, "c": {"1": (E, C)}})
    assert found.kappa[("a", "b")] == 1
    assert set(found.kappa) == {("a", "b"), ("a", "c"), ("b", "c")}
    # Pairs that differ: 0 of the first, 4/2 of the second; n = 6, 3 E, 2 N, 1 C: Σ = 36 − 14 = 22.
    assert found.alpha == pytest.approx(1 - 5 * 2 / 22)


def content(*labels: str) -> str:
    return json.dumps([f"{n}. {label}" for n, label in enumerate(labels, start=1)])


def write_replies(path: Path, replies: dict[str, str]) -> Path:
    rows = [
        {"custom_id": name, "response": {"body": {"choices": [{"message": {"content": text}}]}}}
        for name, text in replies.items()
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_labels_are_read_from_any_file_that_holds_some(tmp_path: Path) -> None:
    wanted = {"1": (E, C), "2": (N,)}
    replies = write_replies(
        tmp_path / "r.jsonl",
        {"1": content("entailment", "Contradiction"), "2": content("Neutral"), "3": "?"},
    )
    people = tmp_path / "p.json"
    people.write_text(
        json.dumps([{"id": 1, "labels": ["Entailment", "contradiction"]}, {"id": 2, "labels": ["Neutral"]}])
    )
    table = tmp_path / "t.csv"
    table.write_text("id,fact,label\n1,a,Entailment\n2,b,neutral\n1,c,Contradiction\n3,d,unsure\n")
    rows = [
        {"id": "1", "label": "Entailment"},
        {"id": "1", "label": "Contradiction"},
        {"id": "2", "label": "Neutral"},
    ]
    single = tmp_path / "s.jsonl"
    single.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for path in (replies, people, table, single):
        assert read_label_file(path) == wanted, path.name


def test_custom_ids_are_matched_by_the_facts(tmp_path: Path) -> None:
    path = write_replies(
        tmp_path / "r.jsonl", {"task-1": content("Entailment"), "task-2": content("Neutral", "Neutral")}
    )
    rows = [FactRow("1", ("a",), "1"), FactRow("2", ("b",), "2")]
    assert read_label_file(path, rows) == {"1": (E,)}


def test_the_command(tmp_path: Path) -> None:
    first = write_replies(
        tmp_path / "a.jsonl", {"1": content("Entailment", "Neutral", "Neutral", "Contradiction")}
    )
    second = write_replies(
        tmp_path / "b.jsonl", {"1": content("Entailment", "Neutral", "Contradiction", "Contradiction")}
    )
    out = tmp_path / "out.json"
    result = runner.invoke(app, ["facts", "agreement", str(first), str(second), "--out", str(out)])
    assert result.exit_code == 0, result.output
    # p_o = ¾; p_e = (1·1 + 2·1 + 1·2)/16 = 5/16: κ = (12 − 5)/(16 − 5).
    assert "kappa a.jsonl – b.jsonl: 0.6364" in result.output
    assert "n: 4 facts of 1 samples" in result.output
    assert read_json(out)["kappas"][0]["kappa"] == pytest.approx(7 / 11)


def test_files_without_labels_are_refused(tmp_path: Path) -> None:
    path = write_replies(tmp_path / "r.jsonl", {"1": "?"})
    with pytest.raises(InputError, match="no labels"):
        read_label_file(path)
    result = runner.invoke(app, ["facts", "agreement", str(path)])
    assert isinstance(result.exception, InputError)
