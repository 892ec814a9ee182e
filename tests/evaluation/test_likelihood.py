import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from tests.conftest import BackboneMaker, ImageMaker

from medpref.errors import InputError
from medpref.evaluation.likelihood import (
    NOTHING,
    ChoiceScores,
    likelihood_scores,
    predict_choices,
    spellings,
)
from medpref.evaluation.likelihood_engine import LikelihoodEngine
from medpref.evaluation.log import LogHeader
from medpref.evaluation.predict import make_log
from medpref.evaluation.tasks import tasks
from medpref.generation.question import Question
from medpref.pairs.images import open_image
from medpref.pairs.pair import Turn
from medpref.pairs.sample import Sample
from medpref.scoring.module import ScoringModel
from medpref.scoring.plan import Path as TokenPath
from medpref.scoring.plan import make_plan

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone

PLACES = ("left lung", "right lung", "in the upper lobe")


@pytest.fixture
def samples(make_image: ImageMaker) -> list[Sample]:
    images = [make_image(f"{number}.png", number) for number in range(2)]
    made = []
    for number in range(8):
        shown = (images[number % 2],)
        made += [
            Sample(f"is-{number}", f"<image>\nIs there lesion {number}?", shown, "Yes", closed=True),
            Sample(f"where-{number}", "<image>\nWhere is it?", shown, PLACES[number % 3], choices=PLACES),
            Sample(f"open-{number}", "<image>\nDescribe the image.", shown, "the lung is clear"),
        ]
    both = tuple(images)
    turn = Turn("<image>\nWhere?", "left")
    made.append(Sample("turns", "<image>\nIs it clear?", both, "no", closed=True, history=(turn,)))
    made.append(Sample("text", "Is the lung an organ?", (), "yes", closed=True))
    return made


def by_hand(
    backbone: "LlavaBackbone", sample: Sample, text: str, *, blank: bool = False
) -> tuple[float, int]:
    """Score one answer alone, in a row of its own: the log-prob in nats and the number of tokens."""
    images = [backbone.read_image(open_image(path)) for path in sample.images]
    if blank:
        images = [backbone.blank(image) for image in images]
    response = tuple(backbone.response_ids(text))
    prompt = tuple(backbone.prompt_ids(sample.prompt, (), sample.history))
    path = TokenPath(tuple(range(len(images))), prompt, response)
    plan = make_plan([path], image_token=backbone.image_token, pad=backbone.pad_token, shared=False)
    backbone.model.eval()
    with torch.no_grad():
        return float(ScoringModel(backbone)(plan, images).sum()), len(response)


@pytest.mark.parametrize("blank", [False, True])
def test_sharing_gives_what_separate_rows_give(
    backbone: "LlavaBackbone", samples: list[Sample], tmp_path: Path, blank: bool
) -> None:
    made = predict_choices(backbone, samples, tmp_path / "a.jsonl", blank=blank, batch_tokens=300)
    for sample, scores in zip(samples, made, strict=True):
        for answer, texts in spellings(sample).items():
            alone = [by_hand(backbone, sample, text, blank=blank) for text in texts]
            whole = math.log(sum(math.exp(logp) for logp, _ in alone))
            assert scores.logps[answer] == pytest.approx(whole, abs=1e-5)
            longest = max(logp / length for logp, length in alone)
            assert scores.per_token[answer] == pytest.approx(longest, abs=1e-5)
    separate = predict_choices(backbone, samples, tmp_path / "b.jsonl", blank=blank, shared=False)
    for one, other in zip(made, separate, strict=True):
        assert one.logps == pytest.approx(other.logps, abs=1e-5)
    assert len({round(score.logps["yes"], 3) for score in made if "yes" in score.logps}) > 3


def test_questions_without_a_closed_set_of_answers_are_passed_over(
    make_backbone: BackboneMaker, samples: list[Sample], tmp_path: Path
) -> None:
    backbone = make_backbone("mistral")
    made = predict_choices(backbone, samples, tmp_path / "a.jsonl")
    for sample, scores in zip(samples, made, strict=True):
        assert (scores == NOTHING) == sample.id.startswith("open")
    nothing = [sample for sample in samples if sample.id.startswith("open")]
    assert predict_choices(backbone, nothing, tmp_path / "b.jsonl") == [NOTHING] * 8
    assert not (tmp_path / "b.jsonl").exists()


def test_a_resumed_run_gives_the_undisturbed_one_s_bytes(
    make_backbone: BackboneMaker, samples: list[Sample], tmp_path: Path
) -> None:
    backbone = make_backbone("qwen2")
    path = tmp_path / "a.jsonl"
    steps: list[int] = []
    expected = predict_choices(backbone, samples, path, batch_tokens=200, advance=steps.append)
    assert sum(steps) == 18
    before = path.read_bytes()
    for share in (0.3, 0.6, 0.9):
        path.write_bytes(before[: int(len(before) * share)])
        assert predict_choices(backbone, samples, path, batch_tokens=200) == expected
        assert path.read_bytes() == before


def test_other_answers_are_scored_anew(
    make_backbone: BackboneMaker, samples: list[Sample], tmp_path: Path
) -> None:
    backbone = make_backbone("mistral")
    path = tmp_path / "a.jsonl"
    sample = samples[1]
    predict_choices(backbone, [sample], path)
    fewer = Sample(sample.id, sample.prompt, sample.images, sample.gold, choices=PLACES[:2])
    assert set(predict_choices(backbone, [fewer], path)[0].logps) == set(PLACES[:2])


def test_the_order_of_the_samples_does_not_matter(
    make_backbone: BackboneMaker, samples: list[Sample], tmp_path: Path
) -> None:
    backbone = make_backbone("mistral")
    made = predict_choices(backbone, samples, tmp_path / "a.jsonl", batch_tokens=300)
    turned = predict_choices(backbone, samples[::-1], tmp_path / "b.jsonl", batch_tokens=300)
    assert turned[::-1] == made


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("limit", [1, 120, 400, 100_000])
def test_batches_hold_every_question_once_and_some_of_them_are_cut_alike(
    make_backbone: BackboneMaker, samples: list[Sample], shared: bool, limit: int
) -> None:
    asked = [sample for sample in samples if spellings(sample)]
    allowed = {sample.id: spellings(sample) for sample in asked}
    engine = LikelihoodEngine(make_backbone("mistral"), allowed, batch_tokens=limit, shared=shared)
    questions = [Question(s.id, s.prompt, s.images, s.history) for s in asked]
    groups = engine.groups(questions)
    assert sorted(q.id for group in groups for q in group) == sorted(allowed)
    assert (len(groups) == 1) == (limit == 100_000 and shared)
    for left in range(len(groups)):
        rest = [*groups[:left], *groups[left + 1 :]]
        assert engine.groups([question for group in rest for question in group]) == rest


def test_a_sample_that_cannot_be_shown_is_told(
    make_backbone: BackboneMaker, samples: list[Sample], tmp_path: Path
) -> None:
    samples[0].images[0].unlink()
    with pytest.raises(InputError, match=r"cannot be scored: .*the image is missing"):
        predict_choices(make_backbone("mistral"), samples, tmp_path / "a.jsonl")


def test_a_question_that_does_not_fit_is_told(make_backbone: BackboneMaker, tmp_path: Path) -> None:
    long = Sample("long", "Is it " + "so " * 200 + "?", (), "yes", closed=True)
    with pytest.raises(InputError, match="128 that fit"):
        predict_choices(make_backbone("mistral"), [long], tmp_path / "a.jsonl")


LOGPS = {"yes": math.log(0.6), "no": math.log(0.3)}


@pytest.mark.parametrize(
    ("gold", "logps", "per_token", "expected"),
    [
        ("Yes.", LOGPS, LOGPS, (1.0, 1.0, math.log(2))),
        ("no", LOGPS, LOGPS, (0.0, 0.0, -math.log(2))),
        # A longer answer is less likely as a whole, and likelier for each token.
        ("b", {"a": -2.0, "b": -3.0, "c": -9.0}, {"a": -2.0, "b": -1.0, "c": -3.0}, (0.0, 1.0, -1.0)),
        ("a", {"a": -2.0, "b": -2.0}, {"a": -1.0, "b": -2.0}, (0.0, 1.0, 0.0)),
    ],
)
def test_scores_by_hand(
    gold: str, logps: dict[str, float], per_token: dict[str, float], expected: Sequence[float]
) -> None:
    scores = likelihood_scores(gold, ChoiceScores(logps, per_token))
    assert list(scores) == ["likelihood_accuracy", "likelihood_accuracy_per_token", "likelihood_margin"]
    assert list(scores.values()) == pytest.approx(expected)


def test_an_answer_that_was_not_scored_has_no_scores() -> None:
    assert likelihood_scores("perhaps", ChoiceScores(LOGPS, LOGPS)) == {}
    assert likelihood_scores("yes", NOTHING) == {}


def test_the_log_holds_them_beside_the_generated_ones(tmp_path: Path) -> None:
    header = LogHeader("s", "b", "m", 0, "vqa", 1, "normal", "test")
    samples = [Sample("a", "Is it?", (), "yes", closed=True), Sample("b", "What?", (), "lung")]
    choices = [ChoiceScores(LOGPS, LOGPS), NOTHING]
    first, second = make_log(header, tasks["vqa"], samples, ["No", "lung"], tmp_path, choices).records
    assert (first.scores["accuracy"], first.scores["likelihood_accuracy"]) == (0.0, 1.0)
    assert first.choice_logps == LOGPS
    assert json.loads(json.dumps(first.choice_logps)) == LOGPS
    assert second.choice_logps == {}
    assert "likelihood_accuracy" not in second.scores


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (Sample("a", "?", (), "Yes", closed=True), ["yes", "no"]),
        (Sample("a", "?", (), "yes", closed=False), []),
        (Sample("a", "?", (), "left", closed=True), []),
        (Sample("a", "?", (), "A", closed=True, choices=("A", "B", "C")), ["A", "B", "C"]),
        (Sample("a", "?", (), "A", closed=True, choices=("A",)), []),
    ],
)
def test_which_answers_a_question_allows(sample: Sample, expected: list[str]) -> None:
    assert list(spellings(sample)) == expected
