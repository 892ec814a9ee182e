"""A phantom's pixels, mask and twin agree with its facts."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medpref.phantoms import DEFAULT_CONTRAST, Facts, Phantom, generate
from medpref.phantoms.facts import EXAMINATIONS
from medpref.phantoms.questions import all_facts
from medpref.phantoms.rendering import render

SAMPLE = 300

EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


@lru_cache(maxsize=1)
def sample() -> tuple[Phantom, ...]:
    return tuple(generate(11, index) for index in range(SAMPLE))


@lru_cache(maxsize=1)
def diseased() -> tuple[Phantom, ...]:
    return tuple(phantom for phantom in sample() if phantom.facts.count)


def centroid(mask: np.ndarray) -> tuple[float, float]:
    """The mask's centroid (x, y) as offsets from the image centre, in pixels."""
    row, column = ndimage.center_of_mass(mask)
    middle = (mask.shape[0] - 1) / 2
    return column - middle, row - middle


def components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    labels, count = ndimage.label(mask, structure=EIGHT_NEIGHBOURS)
    return labels, int(count)


@given(
    seed=st.integers(0, 2**32 - 1),
    index=st.integers(0, 10**6),
    size=st.sampled_from([32, 48, 64, 96]),
    prior=st.floats(0, 1),
)
@settings(max_examples=40, deadline=None)
def test_any_phantom_is_well_formed(seed: int, index: int, size: int, prior: float) -> None:
    phantom = generate(seed, index, size=size, prior=prior)
    for pixels in (phantom.image, phantom.twin):
        assert pixels.shape == (size, size)
        assert pixels.dtype == np.uint8
    assert phantom.mask.shape == (size, size)
    assert phantom.mask.dtype == np.bool_
    assert components(phantom.mask)[1] == phantom.facts.count


def test_the_same_seed_and_index_give_the_same_phantom() -> None:
    for index in range(20):
        first, second = generate(5, index), generate(5, index)
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.twin, second.twin)
        np.testing.assert_array_equal(first.mask, second.mask)
        assert (first.facts, first.questions, first.caption) == (
            second.facts,
            second.questions,
            second.caption,
        )


def test_other_seeds_and_indices_give_other_images() -> None:
    images = {generate(seed, index).image.tobytes() for seed in range(3) for index in range(10)}
    assert len(images) == 30


def test_resolution_and_contrast_do_not_change_the_facts() -> None:
    for index in range(20):
        reference = generate(5, index)
        finer = generate(5, index, size=96, contrast=0.3)
        assert (finer.facts, finer.questions) == (reference.facts, reference.questions)


def test_contrast_does_not_change_the_mask() -> None:
    for index in range(20):
        np.testing.assert_array_equal(generate(5, index).mask, generate(5, index, contrast=0.4).mask)


def test_the_twin_differs_inside_the_lesions_only() -> None:
    for phantom in sample():
        changed = phantom.image != phantom.twin
        if phantom.facts.count == 0:
            assert not changed.any()
            assert not phantom.mask.any()
        else:
            near = ndimage.binary_dilation(phantom.mask, EIGHT_NEIGHBOURS, iterations=2)
            assert not changed[~near].any()
            assert changed[phantom.mask].mean() > 0.8


def test_every_lesion_is_brighter_or_darker_as_the_facts_say() -> None:
    for phantom in diseased():
        change = phantom.image.astype(float) - phantom.twin
        labels, count = components(phantom.mask)
        means = ndimage.mean(change, labels, np.arange(1, count + 1))
        sign = {"bright": 1, "dark": -1}[phantom.facts.intensity or ""]
        assert (sign * means > 0).all()


def test_contrast_is_the_mean_difference_from_the_twin() -> None:
    # Low enough for hardly any grey value to saturate.
    faint = [generate(11, index, contrast=0.12) for index in range(60)]
    differences = [
        np.abs(phantom.image.astype(float) - phantom.twin)[phantom.mask].mean() / 255
        for phantom in faint
        if phantom.facts.count
    ]
    assert np.mean(differences) == pytest.approx(0.12, rel=0.15)


def test_sides_follow_the_radiological_convention() -> None:
    for phantom in diseased():
        labels, count = components(phantom.mask)
        for label in range(1, count + 1):
            x, _ = centroid(labels == label)
            if phantom.facts.side is not None:
                assert (x > 0) == (phantom.facts.side == "left")


def test_vertical_locations_agree_with_the_masks() -> None:
    for phantom in diseased():
        labels, count = components(phantom.mask)
        for label in range(1, count + 1):
            _, y = centroid(labels == label)
            if phantom.facts.vertical is not None:
                assert (y < 0) == (phantom.facts.vertical == "upper")


def test_size_classes_do_not_overlap() -> None:
    radii: dict[str, list[float]] = {"small": [], "large": []}
    for phantom in diseased():
        labels, count = components(phantom.mask)
        areas = np.bincount(labels.ravel())[1:]
        assert len(areas) == count
        radii[phantom.facts.size or ""].extend(np.sqrt(areas / np.pi))
    assert max(radii["small"]) + 1 < min(radii["large"])


def test_every_view_has_room_for_every_combination_of_lesions() -> None:
    for number, facts in enumerate(all_facts()):
        if facts.count == 3 and facts.size == "large" and facts.intensity == "bright":
            scene, noise = np.random.SeedSequence([17, number]).spawn(2)
            rendering = render(facts, 64, DEFAULT_CONTRAST, scene, noise)
            assert components(rendering.mask)[1] == 3


def test_anatomy_looks_the_same_at_every_resolution() -> None:
    facts = Facts("abdomen", "T2 MRI", "axial", 0, None, None, None, None)
    small, large = (
        render(facts, size, DEFAULT_CONTRAST, *np.random.SeedSequence(3).spawn(2)).twin.astype(float)
        for size in (64, 128)
    )
    halved = large.reshape(64, 2, 64, 2).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), halved.ravel())[0, 1] > 0.97


def test_grey_and_white_matter_swap_between_t1_and_t2() -> None:
    brains = [
        render(
            Facts("brain", modality, "axial", 0, None, None, None, None),
            64,
            DEFAULT_CONTRAST,
            *np.random.SeedSequence(4).spawn(2),
        )
        .twin[20:44, 20:44]
        .astype(float)
        for modality in ("T1 MRI", "T2 MRI")
    ]
    assert np.corrcoef(brains[0].ravel(), brains[1].ravel())[0, 1] < -0.5


def test_every_examination_occurs() -> None:
    seen = {(p.facts.site, p.facts.modality, p.facts.plane) for p in sample()}
    assert seen == {
        (site, modality, plane)
        for site, modalities in EXAMINATIONS.items()
        for modality, planes in modalities.items()
        for plane in planes
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 31}, "size"),
        ({"prior": -0.1}, "prior"),
        ({"prior": 1.1}, "prior"),
        ({"contrast": 0.0}, "contrast"),
        ({"contrast": float("nan")}, "contrast"),
    ],
)
def test_impossible_settings_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(0, 0, **arguments)  # type: ignore[arg-type]


def test_negative_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        generate(-1, 0)
