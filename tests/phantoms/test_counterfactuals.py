"""Phantoms with one fact changed: the same patient, another answer, and pixels that show it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medpref.phantoms import VISUAL_KINDS, generate, generate_counterfactuals
from medpref.phantoms.counterfactuals import counterfactuals
from medpref.phantoms.facts import Facts, sample_lesions
from medpref.phantoms.questions import CHOICES, answers

ABSENT = Facts("chest", "X-ray", "lateral", 0, None, None, None, None)
LESION = Facts("brain", "CT", "coronal", 2, "small", "left", "upper", "dark")
SAMPLE = 60


def test_each_wrong_answer_gets_the_facts_that_make_it_right_and_no_other() -> None:
    imagined = sample_lesions(np.random.default_rng(0))
    found = {(kind, answer): facts for kind, answer, facts in counterfactuals(LESION, imagined)}
    wrong = {(k, a) for k in VISUAL_KINDS for a in CHOICES[k] if answers(LESION)[k] != a}
    assert found.keys() == wrong
    for (kind, answer), facts in found.items():
        changed = answers(facts)
        assert changed.pop(kind) == answer
        # Without a lesion nothing else can be asked of it.
        assert changed.items() <= answers(LESION).items()
        assert kind == "presence" or len(changed) == len(answers(LESION)) - 1
    assert found["count", "three"] == replace(LESION, count=3)


def test_where_there_is_no_lesion_one_appears_as_far_as_the_plane_shows_it() -> None:
    imagined = sample_lesions(np.random.default_rng(0))
    ((kind, answer, facts),) = counterfactuals(ABSENT, imagined)
    assert (kind, answer) == ("presence", "yes")
    assert (facts.site, facts.modality, facts.plane) == ("chest", "X-ray", "lateral")
    assert facts.count == imagined.count
    assert facts.side is None
    assert facts.vertical == imagined.vertical


def centroid_column(image: np.ndarray, twin: np.ndarray) -> float:
    changed = np.abs(image.astype(int) - twin.astype(int))
    return float(ndimage.center_of_mass(changed)[1])


@pytest.mark.parametrize("prior", [0.0, 0.8])
def test_the_pixels_show_the_changed_fact_on_the_same_patient(prior: float) -> None:
    moved = 0
    for index in range(SAMPLE):
        phantom = generate(5, index, prior=prior)
        images = generate_counterfactuals(5, index, prior=prior)
        assert all(image.shape == phantom.image.shape for image in images.values())
        assert not any(np.array_equal(image, phantom.image) for image in images.values())
        if ("presence", "no") in images:
            assert np.array_equal(images["presence", "no"], phantom.twin)
        if phantom.facts.side == "left" and ("side", "right") in images:
            # The patient's left is on image right.
            moved += 1
            own = centroid_column(phantom.image, phantom.twin)
            assert centroid_column(images["side", "right"], phantom.twin) < own
    assert moved > 3


def test_a_bright_lesion_turns_dark_in_its_place() -> None:
    turned = 0
    for index in range(SAMPLE):
        phantom = generate(5, index)
        image = generate_counterfactuals(5, index).get(("intensity", "dark"))
        if image is not None:
            turned += 1
            assert image[phantom.mask].mean() < phantom.twin[phantom.mask].mean()
            assert phantom.image[phantom.mask].mean() > phantom.twin[phantom.mask].mean()
            far = ~ndimage.binary_dilation(phantom.mask, iterations=6)
            assert np.array_equal(image[far], phantom.image[far])
    assert turned > 3


def test_nearly_every_patient_has_room_for_what_is_changed() -> None:
    wanted = made = 0
    for index in range(SAMPLE):
        phantom = generate(5, index)
        imagined = sample_lesions(np.random.default_rng([5, index, 1]))
        wanted += sum(1 for _ in counterfactuals(phantom.facts, imagined))
        made += len(generate_counterfactuals(5, index))
    assert 0.95 * wanted < made <= wanted


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(ValueError, match="prior must lie"):
        generate_counterfactuals(0, 0, prior=2)
