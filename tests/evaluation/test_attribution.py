"""How much of gradient × input lies in the region: what it sees, and what it does not."""

from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from medpref.errors import InputError
from medpref.evaluation.attribution import (
    AREA,
    MASS,
    Attribution,
    attributable,
    attribute,
    with_attributions,
)
from medpref.evaluation.log import EvaluationLog, LogHeader
from medpref.evaluation.predict import make_log
from medpref.evaluation.tasks import tasks
from medpref.pairs.sample import Sample

PROMPT = "<image>\nIs there a lesion in the left lung?"
YES, NO = "Yes, in the upper lobe.", "No, the lung is clear."
PLACE = (slice(8, 16), slice(16, 24))
AREA_OF_PLACE = 1 / 16


def write_mask(path: Path, mask: np.ndarray) -> Path:
    Image.fromarray(mask.astype(np.uint8) * 255).convert("1").save(path)
    return path


@pytest.fixture
def region(tmp_path: Path) -> Path:
    """A mask of one sixteenth of an image."""
    mask = np.zeros((32, 32), bool)
    mask[PLACE] = True
    return write_mask(tmp_path / "mask.png", mask)


def sample(ident: str, images: tuple[Path, ...], region: Path | None, gold: str = YES) -> Sample:
    prompt = "<image>" * (len(images) - 1) + PROMPT
    return Sample(ident, prompt, images, gold, ("presence",), cluster=ident, region=region)


def told_by_the_place(folder: Path, region: Path, count: int) -> list[Sample]:
    """Return questions on noise whose right answer is whether the region is brighter than half."""
    draw = np.random.default_rng(0)
    samples = []
    for number in range(count):
        pixels = draw.integers(0, 256, (32, 32, 1))
        pixels[PLACE] = pixels[PLACE] // 2 + 128 * (number % 2)
        path = folder / f"{number}.png"
        Image.fromarray(np.repeat(pixels, 3, axis=2).astype(np.uint8)).save(path)
        samples.append(sample(f"s{number}", (path,), region, (NO, YES)[number % 2]))
    return samples


def mean_mass(backbone: Any, samples: list[Sample], path: Path) -> float:
    made = attribute(backbone, samples, path).values()
    assert all(isinstance(found, Attribution) and found.area == AREA_OF_PLACE for found in made)
    return fmean(found.mass for found in made if isinstance(found, Attribution))


def test_the_mass_is_at_chance_with_random_weights(make_backbone, tmp_path: Path, region: Path) -> None:
    samples = told_by_the_place(tmp_path, region, 16)
    random = [
        mean_mass(make_backbone("mistral", seed), samples, tmp_path / f"random-{seed}.jsonl")
        for seed in range(4)
    ]
    assert AREA_OF_PLACE / 1.6 < fmean(random) < AREA_OF_PLACE * 1.6


@pytest.mark.parametrize(("place", "mass"), [(PLACE, 1.0), ((slice(24, 32), slice(0, 8)), 0.0)])
def test_a_model_that_sees_one_place_has_all_its_mass_there(
    make_backbone, make_image, tmp_path: Path, region: Path, place: tuple[slice, slice], mass: float
) -> None:
    backbone = make_backbone("mistral")
    seen = torch.zeros(32, 32)
    seen[place] = 1
    tower = backbone.model.model.vision_tower
    tower.register_forward_pre_hook(lambda _, given: (given[0] * seen, *given[1:]))
    made = attribute(backbone, [sample("a", (make_image("a.png"),), region)], tmp_path / "made.jsonl")
    assert made == {"a": Attribution(pytest.approx(mass), AREA_OF_PLACE)}


def test_only_samples_with_one_image_and_a_part_of_it_are_looked_at(
    make_image, tmp_path: Path, region: Path
) -> None:
    images = make_image("a.png"), make_image("b.png", 1)
    whole = write_mask(tmp_path / "whole.png", np.ones((32, 32)))
    nothing = write_mask(tmp_path / "nothing.png", np.zeros((32, 32)))
    samples = [
        sample("good", images[:1], region),
        sample("no region", images[:1], None),
        sample("two images", images, region),
        sample("whole", images[:1], whole),
        sample("empty", images[:1], nothing),
    ]
    assert [found.id for found in attributable(samples)] == ["good"]


def test_the_most_are_drawn_by_their_ids(make_image, region: Path) -> None:
    samples = [sample(f"s{number}", (make_image("a.png"),), region) for number in range(20)]
    drawn = attributable(samples, 5)
    assert len(drawn) == 5
    assert [s for s in samples if s in drawn] == drawn
    assert {s.id for s in attributable(samples[::-1], 5)} == {s.id for s in drawn}
    assert attributable(samples, 20) == samples


def test_a_killed_run_goes_on_with_the_same_numbers(
    make_backbone, make_image, tmp_path: Path, region: Path
) -> None:
    backbone, path = make_backbone("mistral"), tmp_path / "made.jsonl"
    samples = [sample(f"s{number}", (make_image(f"{number}.png", number),), region) for number in range(3)]
    whole = attribute(backbone, samples, path)
    written = path.read_bytes()
    path.write_bytes(written[: written[:-1].rfind(b"\n") + 9])
    assert attribute(backbone, samples, path) == whole
    assert path.read_bytes() == written


def test_what_cannot_be_looked_through_is_unscored_with_the_reason(
    make_backbone, make_image, tmp_path: Path, region: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = make_backbone("mistral")
    samples = [sample(name, (make_image("a.png"),), region) for name in ("a", "b")]
    log = make_log(HEADER, tasks["vqa"], samples, [YES, NO], tmp_path)
    scored = with_attributions(log, attribute(backbone, samples[:1], tmp_path / "made.jsonl"))
    assert {MASS, AREA} <= scored.records[0].scores.keys()
    assert scored.records[1] == log.records[1]
    monkeypatch.setattr(backbone, "read_image", lambda image: {"patches": torch.zeros(4, 3)})
    unseen = with_attributions(log, attribute(backbone, samples, tmp_path / "unseen.jsonl"))
    assert all("LLaVA's kind" in record.unscored_metrics[MASS] for record in unseen.records)
    assert [record.scores for record in unseen.records] == [record.scores for record in log.records]


HEADER = LogHeader("s", "b", "m", 0, "vqa", 2, "normal", "test")


def test_a_region_of_another_size_is_an_error(make_image, region: Path) -> None:
    with pytest.raises(InputError, match="32 × 32"):
        attributable([sample("a", (make_image("a.png", size=(16, 16)),), region)])


def test_a_log_without_attributions_stays_as_it_is(make_image, tmp_path: Path, region: Path) -> None:
    log = make_log(HEADER, tasks["vqa"], [sample("a", (make_image("a.png"),), region)], [YES], tmp_path)
    assert isinstance(with_attributions(log, {}), EvaluationLog)
    assert with_attributions(log, {}) == log
