import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from tests.conftest import BackboneMaker, ImageMaker
from tests.generation.engines import make_questions

from medpref.backbones.sampling import Sampling
from medpref.errors import InputError, RunError
from medpref.generation.engine import engines
from medpref.generation.local import LocalEngine
from medpref.generation.question import Answer, Failure, Question, question_seed
from medpref.generation.run import generate_answers
from medpref.pairs.images import open_image
from medpref.pairs.pair import Turn

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone

SAMPLINGS = [Sampling(max_new_tokens=6), Sampling(max_new_tokens=6, temperature=1.2, top_p=0.9, seed=3)]


@pytest.fixture
def backbone(make_backbone: BackboneMaker) -> "LlavaBackbone":
    return make_backbone("mistral")


@pytest.fixture
def questions(make_image: ImageMaker) -> list[Question]:
    return make_questions([make_image(f"{number}.png", number) for number in range(3)])


def answers(engine: LocalEngine, questions: list[Question], sampling: Sampling) -> dict[str, Answer]:
    made = list(engine.answer(questions, sampling))
    assert all(isinstance(each, Answer) for each in made)
    assert len({each.id for each in made}) == len(made) == len(questions)
    return {each.id: each for each in made if isinstance(each, Answer)}


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_answers_are_those_of_the_backbone(
    backbone: "LlavaBackbone", questions: list[Question], sampling: Sampling
) -> None:
    made = answers(LocalEngine(backbone, batch=4), questions, sampling)
    for question in questions:
        images = [backbone.read_image(open_image(path)) for path in question.images]
        ids = backbone.prompt_ids(question.prompt)
        seed = question_seed(sampling, question)
        (alone,) = backbone.complete([ids], [images], sampling, [seed])
        finish = "stop" if alone.stopped else "length"
        assert made[question.id] == Answer(question.id, alone.text, finish, alone.tokens)
    assert len({answer.text for answer in made.values()}) > 5


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_neither_order_nor_batch_size_changes_an_answer(
    backbone: "LlavaBackbone", questions: list[Question], sampling: Sampling
) -> None:
    expected = answers(LocalEngine(backbone, batch=4), questions, sampling)
    for batch in (1, 2, 7, 100):
        random.Random(batch).shuffle(questions)
        assert answers(LocalEngine(backbone, batch=batch), questions, sampling) == expected


@pytest.mark.parametrize("batch", [1, 2, 4, 15])
def test_some_whole_groups_are_grouped_in_the_same_way(
    backbone: "LlavaBackbone", questions: list[Question], batch: int
) -> None:
    engine = LocalEngine(backbone, batch=batch)
    groups = engine.groups(questions)
    assert sorted(question.id for group in groups for question in group) == sorted(q.id for q in questions)
    chance = random.Random(0)
    for _ in range(10):
        some = [group for group in groups if chance.random() < 0.5]
        assert engine.groups([question for group in some for question in group]) == some


def test_batches_hold_questions_on_one_image_or_of_like_length(
    backbone: "LlavaBackbone", questions: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed() -> list[tuple[tuple[Path, ...], int]]:
        groups = LocalEngine(backbone, batch=4).groups(questions)
        return [(q.images, len(backbone.prompt_ids(q.prompt))) for group in groups for q in group]

    by_image = [(images, length) for images, length in listed() if len(images) == 1]
    assert by_image == sorted(by_image)
    assert [length for _, length in by_image] != sorted(length for _, length in by_image)
    monkeypatch.setattr(type(backbone), "shares_stems", False)
    lengths = [length for _, length in listed()]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("cut", [0.1, 0.45, 0.8])
def test_a_resumed_run_asks_the_same_batches(
    backbone: "LlavaBackbone",
    questions: list[Question],
    tmp_path: Path,
    cut: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "answers.jsonl"
    batches: list[list[list[int]]] = []
    complete = backbone.complete

    def note(prompts: list[list[int]], *rest: object) -> object:
        batches.append([list(prompt) for prompt in prompts])
        return complete(prompts, *rest)

    monkeypatch.setattr(backbone, "complete", note)
    generate_answers(LocalEngine(backbone, batch=4), questions, path, SAMPLINGS[0])
    whole, before = list(batches), path.read_bytes()
    path.write_bytes(before[: int(cut * len(before))])
    batches.clear()
    generate_answers(LocalEngine(backbone, batch=4), questions, path, SAMPLINGS[0])
    assert path.read_bytes() == before
    assert batches == whole[len(whole) - len(batches) :]
    assert len(batches) > 0


def test_one_bad_question_fails_by_itself(
    backbone: "LlavaBackbone", questions: list[Question], tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("no image")
    bad = [
        Question("missing", "<image>\nWhere?", (tmp_path / "none.png",)),
        Question("text", "<image>\nWhere?", (tmp_path / "text.png",)),
        Question("long", "Where is the lesion? " * 100),
        Question("count", "Where?", questions[0].images),
        Question("empty", "<image>\n", questions[0].images),
    ]
    engine = LocalEngine(backbone, batch=20)
    made = list(engine.answer([*bad, *questions], SAMPLINGS[0]))
    reasons = {failure.id: failure.reason for failure in made if isinstance(failure, Failure)}
    assert reasons.keys() == {question.id for question in bad}
    assert "missing" in reasons["missing"]
    assert "cannot be read" in reasons["text"]
    assert f"of the {backbone.max_length} that fit" in reasons["long"]
    assert reasons["count"] == "0 <image> in the prompt for 1 images"
    assert reasons["empty"] == "the prompt is empty"
    good = {each.id: each for each in made if isinstance(each, Answer)}
    assert good == answers(LocalEngine(backbone, batch=4), questions, SAMPLINGS[0])


def test_history_is_part_of_the_prompt(backbone: "LlavaBackbone", questions: list[Question]) -> None:
    image = questions[0].images
    history = (Turn("<image>\nWhere?", "In the left lung."),)
    asked = Question("h", "Is the lung clear?", image, history)
    (made,) = LocalEngine(backbone, batch=1).answer([asked], SAMPLINGS[0])
    ids = backbone.prompt_ids(asked.prompt, (), history)
    shown = [[backbone.read_image(open_image(image[0]))]]
    assert isinstance(made, Answer)
    assert made.text == backbone.generate([ids], shown, SAMPLINGS[0])[0]


def test_a_blind_engine_sees_grey_images(backbone: "LlavaBackbone", questions: list[Question]) -> None:
    blind = LocalEngine(backbone, batch=4, blank=True)
    made = answers(blind, questions, SAMPLINGS[0])
    on_first = [made[f"q{number}"].text for number in (0, 5, 10)]
    assert len(set(on_first)) == 1, "one prompt, three images"
    assert made != answers(LocalEngine(backbone, batch=4), questions, SAMPLINGS[0])
    assert blind.identity != LocalEngine(backbone, batch=4).identity


def test_the_identity_follows_the_weights(backbone: "LlavaBackbone") -> None:
    before = LocalEngine(backbone, batch=4).identity
    assert before == LocalEngine(backbone, batch=8).identity
    with torch.no_grad():
        backbone.model.lm_head.weight[0, 0] += 1
    assert LocalEngine(backbone, batch=4).identity != before


def test_answers_come_in_evaluation_mode_and_the_mode_comes_back(
    backbone: "LlavaBackbone", questions: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    complete = backbone.complete
    monkeypatch.setattr(
        backbone, "complete", lambda *given: (modes.append(backbone.model.training), complete(*given))[1]
    )
    backbone.model.train()
    next(LocalEngine(backbone, batch=4).answer(questions, SAMPLINGS[0]))
    assert modes == [False]
    assert backbone.model.training


def test_too_little_memory_names_the_remedy(
    backbone: "LlavaBackbone", questions: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(backbone, "complete", full)
    with pytest.raises(RunError, match="--batch"):
        list(LocalEngine(backbone, batch=4).answer(questions, SAMPLINGS[0]))


def test_a_folder_is_loaded_with_its_settings(
    backbone: "LlavaBackbone", questions: list[Question], tmp_path: Path
) -> None:
    backbone.save(tmp_path / "model")
    engine = engines["local"].make(str(tmp_path / "model"), {"batch": 4, "device": "cpu"})
    assert isinstance(engine, LocalEngine)
    expected = answers(LocalEngine(backbone, batch=4), questions, SAMPLINGS[1])
    assert answers(engine, questions, SAMPLINGS[1]) == expected
    half = engines["local"].make(str(tmp_path / "model"), {"dtype": "bfloat16", "device": "cpu"})
    assert half.identity != engine.identity


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"bach": 4}, "Did you mean 'batch'"),
        ({"batch": 0}, "batch"),
        ({"device": "tpu9"}, "tpu9"),
        ({"dtype": "float8"}, "dtype"),
    ],
)
def test_wrong_settings_are_named(
    backbone: "LlavaBackbone", tmp_path: Path, settings: dict[str, object], told: str
) -> None:
    backbone.save(tmp_path / "model")
    with pytest.raises(InputError, match=told):
        engines["local"].make(str(tmp_path / "model"), settings)


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json"):
        engines["local"].make(str(tmp_path), {})
