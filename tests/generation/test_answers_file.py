import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from tests.conftest import ImageMaker
from tests.generation.engines import Echo

from medpref.backbones.sampling import GREEDY, Sampling
from medpref.errors import InputError, RunError
from medpref.generation.question import Answer, Question, question_seed
from medpref.generation.run import Outcome, failed_path, generate_answers
from medpref.pairs.pair import Turn

QUESTIONS = [Question(f"q{number}", f"Question {number} — größer?") for number in range(8)]


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "answers.jsonl"


def run(path: Path, engine: Echo | None = None, questions: list[Question] = QUESTIONS) -> Outcome:
    return generate_answers(engine or Echo(), questions, path, GREEDY)


def test_each_answer_is_a_line_behind_a_header(path: Path) -> None:
    outcome = run(path)
    header, *answers = lines(path)
    assert header["engine"] == {"engine": "echo", "model": "one", "sizes": [1, 2]}
    assert header["sampling"] == GREEDY.model_dump()
    assert [line["id"] for line in answers] == [question.id for question in QUESTIONS]
    assert answers[0]["text"] == "Question 0 — größer? (3)"
    assert answers[0]["finish"] == "stop"
    assert outcome.answers["q0"] == Answer("q0", "Question 0 — größer? (3)", "stop", 3)
    assert outcome.failures == []
    assert not failed_path(path).exists()


def test_an_answer_is_on_the_disk_before_the_next_question_is_asked(path: Path) -> None:
    engine = Echo()
    seen = []
    engine.before = lambda _: seen.append(len(lines(path)))
    run(path, engine)
    assert seen == list(range(1, 9))


def test_what_is_answered_is_not_asked_again(path: Path) -> None:
    first = run(path)
    before = path.read_bytes()
    engine = Echo()
    assert run(path, engine) == first
    assert engine.asked == []
    assert path.read_bytes() == before


@pytest.mark.parametrize("cut", [1, 2, 30, 200, 450, 700, 900, 1100])
def test_a_file_cut_anywhere_is_completed_to_the_same_bytes(path: Path, cut: int) -> None:
    whole = run(path)
    before = path.read_bytes()
    assert cut < len(before)
    path.write_bytes(before[:cut])
    kept = before[:cut].count(b"\n") - 1
    engine = Echo()
    assert run(path, engine) == whole
    assert path.read_bytes() == before
    # Whole groups are asked again.
    assert len(engine.asked) == 8 - max(kept, 0) // 3 * 3


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    assert len(run(path).answers) == 8


def test_an_engine_that_breaks_leaves_what_it_answered(path: Path) -> None:
    engine = Echo()

    def fail(question: Question) -> None:
        if question.id == "q4":
            raise RunError("the engine stopped")

    engine.before = fail
    with pytest.raises(RunError, match="the engine stopped"):
        run(path, engine)
    assert [line["id"] for line in lines(path)[1:]] == ["q0", "q1", "q2", "q3"]
    assert len(run(path).answers) == 8


def test_progress_counts_what_an_earlier_run_answered(path: Path) -> None:
    run(path, questions=QUESTIONS[:5])
    steps: list[int] = []
    generate_answers(Echo(wrong=["q7"]), QUESTIONS, path, GREEDY, advance=steps.append)
    assert steps == [5, 1, 1, 1]


def test_failures_are_put_aside_and_asked_again(path: Path) -> None:
    outcome = run(path, Echo(wrong=["q1", "q6"]))
    assert [failure.id for failure in outcome.failures] == ["q1", "q6"]
    assert len(outcome.answers) == 6
    assert lines(failed_path(path)) == [
        {"id": "q1", "reason": "it is wrong"},
        {"id": "q6", "reason": "it is wrong"},
    ]
    engine = Echo(wrong=["q6"])
    outcome = run(path, engine)
    assert engine.asked == ["q0", "q1", "q2", "q6", "q7"], "whole groups"
    assert outcome.answers["q1"].text.startswith("Question 1")
    assert [line["id"] for line in lines(failed_path(path))] == ["q6"]
    assert len(lines(path)) == 1 + 7, "no answer stands there twice"
    run(path)
    assert not failed_path(path).exists()


@pytest.mark.parametrize(
    ("engine", "sampling", "told"),
    [
        (Echo(model="other"), GREEDY, 'model is "one" there and "other" here'),
        (Echo(), Sampling(temperature=0.5), "temperature is 0.0 there and 0.5 here"),
        (Echo(), Sampling(seed=4, top_p=0.5), "top_p is 1.0 there and 0.5 here; seed is 0 there and 4 here"),
    ],
)
def test_answers_of_other_settings_are_never_mixed(
    path: Path, engine: Echo, sampling: Sampling, told: str
) -> None:
    run(path)
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        generate_answers(engine, QUESTIONS, path, sampling)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert len(generate_answers(engine, QUESTIONS, path, sampling, replace=True).answers) == 8
    assert path.read_bytes() != before


@pytest.mark.parametrize(
    "text", ["", "# Notes", "# Notes\nmine", '{"id": "a"}\n', "[1]\n", "null\n", '{"medpref": "answers"}\n']
)
def test_other_files_are_left_alone(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text + "precious")
    with pytest.raises(InputError):
        run(path)
    assert path.read_text() == text + "precious"


@pytest.mark.parametrize("line", ["{", "[]", "3", '{"id": "q0"}', '{"id": "q0", "question": "x", "tau": 1}'])
def test_a_damaged_line_is_named(path: Path, line: str) -> None:
    run(path)
    good = path.read_text().splitlines()
    path.write_text("\n".join([*good[:2], line, *good[2:]]) + "\n")
    with pytest.raises(InputError, match="line 3"):
        run(path)


def test_a_question_that_has_changed_is_refused(path: Path, make_image: ImageMaker) -> None:
    image = make_image("a.png")
    asked = [Question("a", "<image>\nWhere?", (image,), (Turn("Hello", "Hi"),)), Question("b", "What?")]
    run(path, questions=asked)
    run(path, questions=asked)
    for changed in (
        replace(asked[0], prompt="<image>\nWhen?"),
        replace(asked[0], history=()),
        replace(asked[0], images=(make_image("b.png", 1),)),
    ):
        with pytest.raises(InputError, match="the question a is not the one"):
            run(path, questions=[changed, asked[1]])
    moved = replace(asked[0], images=(make_image("c.png"),))
    assert len(run(path, questions=[moved, asked[1]]).answers) == 2, "the same image elsewhere is the same"
    Image.new("RGB", (9, 9)).save(image)
    with pytest.raises(InputError, match="the question a is not the one"):
        run(path, questions=asked)


def test_answers_to_questions_that_are_not_asked_stay_in_the_file_alone(path: Path) -> None:
    run(path)
    assert list(run(path, questions=QUESTIONS[2:4]).answers) == ["q2", "q3"]
    assert len(lines(path)) == 9


def test_ids_must_differ(path: Path) -> None:
    with pytest.raises(InputError, match="two questions have this id"):
        run(path, questions=[*QUESTIONS, QUESTIONS[0]])
    assert not path.exists()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="file"):
        run(tmp_path / "file" / "answers.jsonl")


def test_seeds_depend_on_question_and_sampling_alone() -> None:
    drawn = {question_seed(Sampling(seed=seed), question) for seed in (0, 1) for question in QUESTIONS}
    assert len(drawn) == 16
    assert question_seed(Sampling(), QUESTIONS[0]) == question_seed(
        Sampling(temperature=1), replace(QUESTIONS[0], prompt="Another?")
    )
