from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.conftest import BackboneMaker, ImageMaker

from medpref.backbones.sampling import Sampling
from medpref.errors import InputError
from medpref.evaluation.predict import predict
from medpref.pairs.images import open_image
from medpref.pairs.sample import Sample

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone

PROMPTS = ["<image>\nWhere?", "<image>\nIs there a lesion in the left lung?", "Is pneumonia an infection?"]


@pytest.fixture
def backbone(make_backbone: BackboneMaker) -> "LlavaBackbone":
    return make_backbone("mistral")


@pytest.fixture
def samples(make_image: ImageMaker) -> list[Sample]:
    images = [make_image(f"{number}.png", number) for number in range(3)]
    return [
        Sample(f"s{n}", PROMPTS[n % 3], (images[n % 2],) if "<image>" in PROMPTS[n % 3] else (), "left")
        for n in range(10)
    ]


@pytest.mark.parametrize("blank", [False, True])
def test_answers_are_greedy_and_in_the_order_of_the_samples(
    backbone: "LlavaBackbone", samples: list[Sample], tmp_path: Path, blank: bool
) -> None:
    expected = []
    for sample in samples:
        shown = [backbone.read_image(open_image(path)) for path in sample.images]
        if blank:
            shown = [backbone.blank(image) for image in shown]
        expected += backbone.generate(
            [backbone.prompt_ids(sample.prompt)], [shown], Sampling(max_new_tokens=5)
        )
    path = tmp_path / "a.predictions.jsonl"
    assert predict(backbone, samples, path, max_new_tokens=5, batch=4, blank=blank) == expected
    assert len(set(expected)) > 2


def test_a_resumed_prediction_is_the_undisturbed_one(
    backbone: "LlavaBackbone", samples: list[Sample], tmp_path: Path
) -> None:
    path = tmp_path / "a.predictions.jsonl"
    steps: list[int] = []
    expected = predict(backbone, samples, path, max_new_tokens=5, batch=4, advance=steps.append)
    assert sum(steps) == 10
    before = path.read_bytes()
    path.write_bytes(before[: len(before) // 2])
    steps.clear()
    assert predict(backbone, samples, path, max_new_tokens=5, batch=4, advance=steps.append) == expected
    assert path.read_bytes() == before
    assert sum(steps) == 10
    assert steps[0] > 0


@pytest.mark.parametrize("text", ['["yes", "no"]\n["no"]\n', "", '{"medpref": "answers", "version": 0}\n'])
def test_what_another_version_left_behind_is_replaced(
    backbone: "LlavaBackbone", samples: list[Sample], tmp_path: Path, text: str
) -> None:
    path = tmp_path / "a.predictions.jsonl"
    expected = predict(backbone, samples, path, max_new_tokens=5, batch=4)
    path.write_text(text)
    assert predict(backbone, samples, path, max_new_tokens=5, batch=4) == expected


def test_another_model_s_answers_are_replaced(
    backbone: "LlavaBackbone", make_backbone: BackboneMaker, samples: list[Sample], tmp_path: Path
) -> None:
    path = tmp_path / "a.predictions.jsonl"
    other = predict(make_backbone("mistral", seed=1), samples, path, max_new_tokens=5, batch=4)
    assert predict(backbone, samples, path, max_new_tokens=5, batch=4) != other


def test_a_sample_that_cannot_be_asked_is_told(
    backbone: "LlavaBackbone", samples: list[Sample], tmp_path: Path
) -> None:
    samples[3].images[0].unlink()
    with pytest.raises(InputError, match="the image is missing") as caught:
        predict(backbone, samples, tmp_path / "a.predictions.jsonl", max_new_tokens=5, batch=4)
    assert "of 10 samples cannot be asked" in str(caught.value)
