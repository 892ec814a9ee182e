"""Question kinds: questions of many wordings, lists that users extend, files that are labelled."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from medpref.cli import app
from medpref.errors import InputError
from medpref.pairs.kinds import KINDS, Classifier, classifier, classify, read_lists
from medpref.pairs.kinds.learned import LearnedClassifier
from medpref.pairs.kinds.lists import Lists
from medpref.pairs.kinds.rows import label, read_examples, read_rows, write_rows
from medpref.pairs.kinds.words import Typos, plain

BY_HAND = Path(__file__).with_name("question_kinds.tsv")
"""Questions in our own words with the kinds that would be right, written before the lists were tuned."""


def first(question: str, answer: str | None = None) -> str:
    return classify(question, answer)[0].name


def by_hand() -> list[tuple[str, list[str]]]:
    rows = [line.split("\t") for line in BY_HAND.read_text().splitlines()]
    return [(question, kinds.split("|")) for question, kinds in rows]


def test_most_questions_written_by_hand_are_told() -> None:
    rows = by_hand()
    right = sum(first(question) in kinds for question, kinds in rows)
    assert {kind for _, kinds in rows for kind in kinds} == set(KINDS)
    assert right / len(rows) > 0.9


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("What imaging modality was used?", "modality"),
        ("In which plane was the scan made?", "plane"),
        ("Which organ is shown in this picture?", "organ"),
        ("What disease does the patient have?", "abnormality"),
        ("Is there a fracture?", "presence"),
        ("Where is the fracture?", "position"),
        ("How large is the cyst?", "size"),
        ("What colour is the lesion?", "colour"),
        ("How many cysts are there?", "count"),
        ("How would you describe the border?", "attribute"),
        ("What is the function of the kidney?", "other"),
    ],
)
def test_each_kind_has_its_plain_question(question: str, kind: str) -> None:
    assert first(question) == kind


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Is there a mass in the left lung?", "presence"),
        ("Is the mass in the left lung or in the right lung?", "position"),
        ("Where is the largest mass?", "position"),
        ("Is the left lung normal?", "abnormality"),
        ("Is the left lung enlarged?", "size"),
        ("How many masses are in the left lung?", "count"),
        ("What is the shape of the mass in the left lung?", "attribute"),
        ("Is the mass in the left lung hyperdense?", "colour"),
        ("What causes a mass in the left lung?", "other"),
    ],
)
def test_what_is_asked_for_wins_over_what_is_spoken_of(question: str, kind: str) -> None:
    assert first(question) == kind


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        str.title,
        lambda text: text.replace("?", ""),
        lambda text: text.replace("?", " ?!"),
        lambda text: f"<image>\n{text}",
        lambda text: f"  {text.replace(' ', '  ')}\n",
        lambda text: f"{text} - yes/no",
        lambda text: f"{text} (A) red (B) left (C) three (D) a CT scan",
    ],
)
def test_writing_does_not_matter(change) -> None:
    for question, _ in by_hand():
        assert first(change(question)) == first(question), question


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What color is the tumor?", "What colour is the tumour?"),
        ("Is there edema of the esophagus?", "Is there oedema of the oesophagus?"),
        ("Is hemorrhage seen?", "Is haemorrhage seen?"),
        ("Is there a lung mass?", "Are there lung masses?"),
        ("Which body is seen in the bronchus?", "Which bodies are seen in the bronchi?"),
        ("What modality is this?", "What modalty is this?"),
        ("Which organ is pictured?", "Which orgna is pictured?"),
        ("Is the liver normal?", "Is the livver normal?"),
        ("Where is the lesion located?", "Where is the lession locatd?"),
        ("Which side is affected?", "wich side is afected?"),
    ],
)
def test_spelling_plurals_and_slips_do_not_matter(one: str, other: str) -> None:
    assert first(other) == first(one)


def test_a_slip_is_put_right_only_where_it_is_one() -> None:
    typos = Typos(["liver", "brain", "lesion"], leave=["liven"])
    assert typos.put_right("brian livver livr lesoin leson") == "brain liver livr lesion lesion"
    kept = "river liven bran trains lesional livers"
    assert typos.put_right(kept) == kept


@given(st.text(max_size=200), st.none() | st.text(max_size=30))
def test_any_text_has_a_kind(question: str, answer: str | None) -> None:
    told = classify(question, answer)
    scores = [kind.score for kind in told]
    assert told
    assert scores == sorted(scores, reverse=True)
    assert len({kind.name for kind in told}) == len(told)
    assert {kind.name for kind in told} <= set(KINDS)


def test_nothing_known_is_other() -> None:
    assert classify("Xyzzy?") == (("other", 0.0, ()),)


def test_evidence_is_words_of_the_question() -> None:
    tell = classifier()
    for question, _ in by_hand():
        words = tell.words(question)
        for kind in tell(question):
            assert all(f" {evidence} " in f" {words} " for evidence in kind.words), question


def test_words_in_between_are_no_evidence() -> None:
    tell = Classifier(Lists(kinds={"size": {1.0: ("how .. big",)}}))
    assert tell("How very, very big is it?")[0].words == ("how", "big")


def test_the_answer_helps_where_the_question_says_little() -> None:
    question = "And the second one?"
    assert first(question) == "other"
    answers = {
        "3": "count",
        "2.5 cm": "size",
        "Axial": "plane",
        "T2-weighted MRI": "modality",
        "blue": "colour",
    }
    assert {answer: first(question, answer) for answer in answers} == answers
    assert first("Where is the mass?", "4") == "position"


def test_every_kind_and_every_list_is_in_use() -> None:
    lists = read_lists()
    assert set(lists.kinds) == set(KINDS)
    texts = json.dumps([lists.kinds, lists.answers, lists.words])
    assert [name for name in lists.words if f"{{{name}}}" not in texts] == []


def test_no_ending_makes_a_disease_of_other_words() -> None:
    for question in ("Is it the stroma?", "Is it the thorax?", "Is it a good prognosis?"):
        assert "abnormality" not in [kind.name for kind in classify(question)], question


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_users_add_words_and_patterns(tmp_path: Path) -> None:
    mine = write(
        tmp_path / "mine.yaml",
        "words: {organ: [frobnicle]}\nspelling: {frabni: frobni}\n"
        "kinds: {count: {1.0: ['how much of a {organ}']}}\n",
    )
    tell = classifier(mine)
    assert tell("Is this a frabnicle?")[0].name == "organ"
    assert tell("How much of a frobnicle?")[0] == ("count", 1.0, ("how much of a frobnicle",))
    assert tell("Where is the mass?")[0].name == "position"


def test_users_leave_the_bundled_lists_out(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.yaml", "extends: false\nkinds: {position: {0.9: ['wo']}}\n")
    assert classifier(mine)("Wo ist die Fraktur?") == (("position", 0.9, ("wo",)),)
    assert classifier(mine)("Where is the mass?")[0].name == "other"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("kinds: {colr: {1.0: [red]}}", "Did you mean 'colour'"),
        ("kinds: {colour: {1.5: [red]}}", "between 0 and 1"),
        ("kinds: {colour: {1.0: ['(red']}}", "no regular expression"),
        ("kinds: {colour: {1.0: ['{organs}']}}", "Did you mean 'organ'"),
        ("words: {mine: ['{mine}']}\nkinds: {colour: {1.0: ['{mine}']}}", "names itself"),
        ("colours: [red]", "colours"),
        ("kinds: [", "no valid YAML"),
    ],
)
def test_wrong_lists_are_named(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(InputError) as caught:
        classifier(write(tmp_path / "mine.yaml", text))
    assert fault in str(caught.value)


ROWS = [
    {"id": "a", "question": "Where is the mass?", "image": "a.png", "more": [1, {"x": None}]},
    {"id": "b", "text": "no question here"},
    {"id": "c", "question": "How many ribs?", "answer": 12},
    {"id": "d", "question": " "},
    ["no", "object"],
]


def test_rows_keep_their_fields_and_faults_are_named(tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in ROWS] + ['{"question": "cut']
    found = label(read_rows(write(tmp_path / "in.jsonl", "\n".join(lines))), classify, field="question")
    assert [
        {key: row[key] for key in given} for row, given in zip(found.rows, (ROWS[0], ROWS[2]), strict=True)
    ] == [
        ROWS[0],
        ROWS[2],
    ]
    assert [row["kinds"][0] for row in found.rows] == ["position", "count"]
    assert "where" in found.rows[0]["evidence"]["position"][0]
    assert [(row.line, row.id) for row in found.quarantined] == [(2, "b"), (4, "d"), (5, None), (6, None)]
    assert found.counts == {"position": 1, "count": 1}


def test_json_arrays_and_tables_are_read_and_written(tmp_path: Path) -> None:
    rows = [{"id": "1", "q": "Is it red, or blue?"}, {"id": "2", "q": "Where?"}]
    array = write(tmp_path / "in.json", json.dumps(rows))
    found = label(read_rows(array), classify, field="q")
    write_rows(tmp_path / "out.csv", found.rows)
    write_rows(tmp_path / "out.json", found.rows)
    table = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [(row["id"], row["q"], row["kinds"].split("|")) for row in table] == [
        (row["id"], row["q"], row["kinds"]) for row in found.rows
    ]
    assert json.loads(table[0]["evidence"]) == found.rows[0]["evidence"]
    assert json.loads((tmp_path / "out.json").read_text()) == list(found.rows)
    again = label(read_rows(tmp_path / "out.csv"), classify, field="q", prefix="new_")
    assert [row["new_kinds"] for row in again.rows] == [row["kinds"] for row in found.rows]


def test_a_ragged_table_row_is_put_aside(tmp_path: Path) -> None:
    table = write(tmp_path / "in.csv", "id,question\n1,Where?,more\n2\n3,How many?\n")
    found = label(read_rows(table), classify, field="question")
    assert [row["id"] for row in found.rows] == ["3"]
    assert [row.line for row in found.quarantined] == [2, 3]


def test_labels_that_are_there_are_not_overwritten(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path / "in.jsonl", '{"question": "Where?", "kinds": ["x"]}'))
    with pytest.raises(InputError, match="kinds"):
        label(rows, classify, field="question")
    found = label(rows, classify, field="question", prefix="told_")
    assert found.rows[0]["kinds"] == ["x"]
    assert found.rows[0]["told_kinds"] == ["position"]


def test_the_command_writes_counts_and_quarantine(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", "\n".join(json.dumps(row) for row in ROWS[:3]))
    target = tmp_path / "out.jsonl"
    result = CliRunner().invoke(app, ["kinds", str(file), "--out", str(target)])
    assert result.exit_code == 1
    assert "2 questions" in result.output
    assert "no field 'question'" in result.output
    assert [json.loads(line)["kinds"] for line in target.read_text().splitlines()] == [
        ["position"],
        ["count"],
    ]
    (aside,) = (tmp_path / "out.jsonl.quarantine.jsonl").read_text().splitlines()
    assert json.loads(aside)["line"] == 2
    sound = write(tmp_path / "sound.jsonl", json.dumps(ROWS[0]))
    assert CliRunner().invoke(app, ["kinds", str(sound), "--out", str(target)]).exit_code == 0


# A convention that the lists do not have: what is seen in a picture is an organ here.
EXAMPLES = [
    (f"{start} {thing} {end}", frozenset(kinds))
    for start, end, kinds in (
        ("Is there a", "here", ("organ",)),
        ("Where is the", "here", ("position",)),
        ("Where and how big is the", "here", ("position", "size")),
    )
    for thing in ("mass", "cyst", "kidney", "stone", "nodule", "tube")
]


def test_learning_takes_over_the_examples_convention() -> None:
    learned = LearnedClassifier(EXAMPLES, classifier())
    assert first("Is there a polyp here?") == "presence"
    assert learned("Is there a polyp here?")[0].name == "organ"
    assert {kind.name for kind in learned("Where and how big is the polyp?")} == {"position", "size"}
    assert learned("Where is the polyp?")[0].words
    assert learned.names == ("organ", "position", "size")


def test_learning_is_repeatable_and_its_scores_are_probabilities() -> None:
    one, other = (LearnedClassifier(EXAMPLES, classifier()) for _ in range(2))
    for question, _ in EXAMPLES:
        told = one(question)
        assert told == other(question)
        assert all(0 < kind.score < 1 for kind in told)


def test_a_strong_penalty_leaves_the_share_of_the_kind() -> None:
    def chance(penalty: float) -> float:
        return LearnedClassifier(EXAMPLES, classifier(), penalty=penalty)("Where is the mass here")[0].score

    # Two of three examples are of that kind, and the intercept is free of the penalty.
    assert chance(1e6) == pytest.approx(2 / 3, abs=1e-3)
    assert chance(0.01) > chance(1.0) > chance(1e6)


def test_the_command_learns_from_a_file(tmp_path: Path) -> None:
    rows = [{"question": question, "kinds": sorted(kinds)} for question, kinds in EXAMPLES]
    labelled = write(tmp_path / "labelled.jsonl", "\n".join(map(json.dumps, rows)))
    file = write(tmp_path / "in.jsonl", json.dumps({"question": "Is there a polyp here?"}))
    target = tmp_path / "out.jsonl"
    result = CliRunner().invoke(app, ["kinds", str(file), "--out", str(target), "--learn", str(labelled)])
    assert result.exit_code == 0, result.output
    assert json.loads(target.read_text())["kinds"] == ["organ"]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"question": "Where?", "kinds": ["positon"]}, "Did you mean 'position'"),
        ({"question": "Where?"}, "kinds"),
        ({"kinds": ["position"]}, "question"),
    ],
)
def test_wrong_examples_are_named(tmp_path: Path, row: dict[str, object], fault: str) -> None:
    path = write(tmp_path / "labelled.jsonl", json.dumps(row))
    with pytest.raises(InputError) as caught:
        read_examples(path, field="question")
    assert "line 1" in str(caught.value)
    assert fault in str(caught.value)


def test_nothing_to_learn_from() -> None:
    with pytest.raises(InputError, match="no labelled questions"):
        LearnedClassifier([], classifier())


def test_plain_words() -> None:
    assert (
        plain("Is/Are the X-ray's “T2-weighted” ≥3.5 cm?", {}) == "is the x ray t2 weighted at least 3.5 cm"
    )
