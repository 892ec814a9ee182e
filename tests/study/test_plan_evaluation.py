"""What a plan counts of asking the test, against what is really computed."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tests.study.conftest import write_study

from medpref.backbones.sampling import Sampling
from medpref.evaluation.likelihood import predict_choices
from medpref.evaluation.likelihood_engine import LikelihoodEngine
from medpref.files import read_json
from medpref.generation.local import LocalEngine
from medpref.pairs.sample import Sample
from medpref.scoring.inputs import InputCache
from medpref.study.dry.asking import Likelihoods, answer_batches, lay_out_answers, questions_of
from medpref.study.load import load_study
from medpref.study.plan import plan_study

SHOWN = ["normal", "blank", "shuffled", "roi-noise", "outside-noise", "mirror", "rephrased"]


@pytest.fixture
def samples(make_image) -> list[Sample]:
    images = [make_image(f"{number}.png", number) for number in range(3)]
    prompts = ["<image>\nIs there a mass?", "<image>\nWhere is the mass in this image?"]
    return [
        Sample(f"{number}-{kind}", prompts[kind], (image,), ("yes", "left")[kind], closed=kind == 0)
        for number, image in enumerate(images)
        for kind in range(2)
    ]


def tokens_seen(backbone, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many tokens go through the language model's first layer, call by call."""
    seen: list[int] = []
    layer = backbone.model.model.language_model.layers[0]
    forward = layer.forward

    def note(hidden: torch.Tensor, *args: object, **kwargs: object) -> object:
        seen.append(hidden.shape[0] * hidden.shape[1])
        return forward(hidden, *args, **kwargs)

    monkeypatch.setattr(layer, "forward", note)
    return seen


@pytest.mark.parametrize("family", ["mistral", "qwen2"])
@pytest.mark.parametrize("batch", [2, 6])
def test_tokens_of_answers_are_those_that_the_model_reads(
    make_backbone, samples: list[Sample], monkeypatch: pytest.MonkeyPatch, family: str, batch: int
) -> None:
    backbone = make_backbone(family)
    inputs = InputCache(backbone)
    seen = tokens_seen(backbone, monkeypatch)
    engine = LocalEngine(backbone, batch=batch, inputs=inputs, fingerprint="x")
    answers = list(engine.answer(questions_of(samples), Sampling(max_new_tokens=3)))
    # No answer of this fresh model ends by itself: all have as many tokens as are allowed.
    assert [answer.tokens for answer in answers] == [3] * len(samples)
    golds = {sample.id: "a very long answer of many words" for sample in samples}
    groups = answer_batches(backbone, inputs, samples, batch)
    laid = [lay_out_answers(inputs, group, golds, 3) for group in groups]
    assert sum(each.made.tokens for each in laid) == sum(seen)
    assert sum(each.questions for each in laid) == len(samples)
    if batch == 6:
        assert laid[0].load.images == 3


def test_short_references_make_short_answers(make_backbone, samples: list[Sample]) -> None:
    inputs = InputCache(make_backbone("mistral"))
    questions = questions_of(samples[:1])
    short, long, cut = (
        lay_out_answers(inputs, questions, {questions[0].id: gold}, most).made.tokens
        for gold, most in (("yes", 9), ("yes it is there", 9), ("yes it is there", 2))
    )
    assert cut <= short < long


def test_visible_pairs_of_answers_by_hand(make_backbone, samples: list[Sample]) -> None:
    inputs = InputCache(make_backbone("mistral"))
    (question,) = questions_of(samples[:1])
    made, load, count = lay_out_answers(inputs, [question], {question.id: "yes"}, 2)
    length = len(inputs.prompt_ids(question.prompt, question.images)) + 1
    assert (made.tokens, made.padding, count) == (length, 0, 1)
    assert load.visible == length * (length + 1) // 2
    assert load.positions == 2


def test_tokens_of_likelihoods_are_those_that_the_model_reads(
    make_backbone, samples: list[Sample], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backbone = make_backbone("mistral")
    inputs = InputCache(backbone)
    seen: list[int] = []
    score = LikelihoodEngine._score

    def note(engine: LikelihoodEngine, paths: Sequence, images: Sequence[Path]) -> list:
        model = engine._model
        monkeypatch.setattr(
            engine, "_model", lambda plan, shown: (seen.append(plan.rows.ids.numel()), model(plan, shown))[1]
        )
        return score(engine, paths, images)

    monkeypatch.setattr(LikelihoodEngine, "_score", note)
    predict_choices(backbone, samples, tmp_path / "choices.jsonl", inputs=inputs, fingerprint="x")
    asked = Likelihoods(backbone, inputs, samples)
    laid = [asked.lay_out(group) for group in asked.batches]
    assert [each.made.tokens for each in laid] == seen
    # Each of three closed questions has yes and no, in two spellings.
    assert sum(each.made.cells for each in laid) == 12
    assert Likelihoods(backbone, inputs, samples[1::2]).batches == []


def test_each_condition_and_the_likelihoods_add_their_cost(tmp_path: Path) -> None:
    methods = {"dpo": {"objective": "dpo", "rejected_response": "other-answer"}}
    plain = {"methods": methods, "controls": ["sft"], "search": None}
    few = plan_study(
        load_study(write_study(tmp_path / "a.yaml", conditions=["normal"], likelihood=False, **plain))
    )
    many = plan_study(load_study(write_study(tmp_path / "b.yaml", conditions=SHOWN, seeds=[0, 1], **plain)))
    assert [stage.name for stage in few.stages if stage.work == "answers"] == ["answers normal"]
    found = {stage.name: stage for stage in many.stages if stage.work in ("answers", "likelihood")}
    assert list(found) == [f"{work} {name}" for name in SHOWN for work in ("answers", "likelihood")]
    # sft and dpo, with each of two seeds.
    assert {stage.runs for stage in found.values()} == {4}
    questions = {name: stage.pairs * stage.steps for name, stage in found.items()}
    assert questions["answers normal"] == questions["answers blank"] > questions["answers mirror"]
    assert questions["answers roi-noise"] == questions["answers outside-noise"] < questions["answers normal"]
    assert all(stage.run.flops > 0 and stage.step.images > 0 for stage in found.values())
    totals = many.to_json()["totals"]
    asked = [stage.run.tokens * stage.runs for name, stage in found.items() if name.startswith("answers")]
    assert totals["answer_tokens"] == pytest.approx(sum(asked))
    assert totals["likelihood_tokens"] > 0 == few.to_json()["totals"]["likelihood_tokens"]
    assert totals["flops"] == pytest.approx(sum(stage.run.flops * stage.runs for stage in many.stages))


def test_some_of_the_test_stands_for_all(tmp_path: Path) -> None:
    data = {"source": "phantoms", "size": 32, "train": 24, "pool": 16, "validation": 6, "test": 60}
    plan = plan_study(load_study(write_study(tmp_path / "toy.yaml", data=data, conditions=["normal"])))
    assert "test: figures come from 32 of 60 images" in plan.notes
    (answers,) = (stage for stage in plan.stages if stage.work == "answers")
    # About six or seven questions on a phantom, and its caption.
    assert answers.pairs * answers.steps == pytest.approx(60 * 7.4, rel=0.2)


def test_a_plan_tells_how_many_questions_a_run_then_asks(toy_run: Path) -> None:
    plan = plan_study(load_study(toy_run.parent / "toy.yaml"))
    (answers,) = (stage for stage in plan.stages if stage.name == "answers normal")
    rows = read_json(toy_run / "results.json")["rows"]
    asked = {
        (row["task"], row["n"])
        for row in rows
        if row["method"] == "dpo" and row["condition"] == "normal" and row["slice"] == "all"
        if row["metric"] in ("unparsed", "exact_match")
    }
    assert answers.pairs * answers.steps == pytest.approx(sum(n for _, n in asked))
