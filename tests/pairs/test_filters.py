"""Filters leave pairs out with a reason, and the order of the pairs does not matter."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from pydantic import ValidationError

from medpref.errors import InputError
from medpref.files import read_json
from medpref.pairs.duplicates import NEAR, PictureIndex, hash_distances, perceptual_hash
from medpref.pairs.pair import Pair, Turn
from medpref.pairs.recipes import RecipeContext, filter_recipes
from medpref.pairs.recipes.filters.contradictions import contradict
from medpref.pairs.recipes.filters.language import guess
from medpref.pairs.sample import Sample, write_samples
from medpref.pairs.store import write_pairs


def run(name: str, pairs: list[Pair], folder: Path, **settings: Any) -> tuple[list[str], dict[str, str]]:
    """Run a filter in both orders; return the ids that it kept and the reasons of the others."""
    found = []
    for given in (pairs, pairs[::-1]):
        context = RecipeContext(0, folder)
        kept = filter_recipes[name].run(given, settings, context)
        assert [pair for pair in given if pair in kept] == kept, "what is kept is as it was, in its order"
        assert {one.recipe for one in context.left_out} <= {name}
        assert len(kept) + len(context.left_out) == len(given)
        found.append((sorted(pair.id for pair in kept), {one.id: one.reason for one in context.left_out}))
    assert found[0] == found[1]
    return found[0]


def picture(path: Path, seed: int = 0, size: int = 96) -> Path:
    """Write a random picture with as much at each scale as a scan has: half the contrast at half the size."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((size, size))
    for octave, cells in enumerate((4, 8, 16, 32)):
        coarse = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
        pixels += np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)) / 2**octave
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(128 + 40 * pixels, 0, 255).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("The left lung.", "left lung"),
        ("two lesions", "2 lesions"),
        ("Cafe\u0301", "CAFÉ"),
        ("Yes!", "yes"),
        ("twenty-one", "21"),
        ("+", " + "),
    ],
)
def test_responses_that_say_the_same_are_left_out(make_pair, tmp_path, chosen: str, rejected: str) -> None:
    pair = make_pair("a", chosen=chosen, refused=rejected)
    assert run("differing", [pair], tmp_path) == ([], {"a": "chosen and rejected response sound the same"})


@pytest.mark.parametrize(
    ("chosen", "rejected"), [("left", "right"), ("+", "-"), ("2 cm", "2.5 cm"), ("a", None)]
)
def test_responses_that_differ_are_kept(make_pair, tmp_path, chosen: str, rejected: str | None) -> None:
    assert run("differing", [make_pair("a", chosen=chosen, refused=rejected)], tmp_path) == (["a"], {})


def test_lengths_far_apart_are_left_out(make_pair, tmp_path) -> None:
    pairs = [
        make_pair("long", chosen="No", refused="Yes, the liver is much enlarged"),
        make_pair("short", chosen="one two three four five six seven", refused="no"),
        make_pair("equal", chosen="one two", refused="three four"),
        make_pair("alone", refused=None),
    ]
    kept, reasons = run("length-ratio", pairs, tmp_path)
    assert kept == ["alone", "equal"]
    assert reasons == {
        "long": "the rejected response is too long (6 times the words of the chosen one)",
        "short": "the rejected response is too short (0.14 times the words of the chosen one)",
    }
    assert run("length-ratio", pairs, tmp_path, least=0.1, most=6)[0] == ["alone", "equal", "long", "short"]
    with pytest.raises(ValidationError, match="must not be above"):
        run("length-ratio", pairs, tmp_path, least=7)


def test_contradicting_pairs_are_left_out_by_the_content_of_their_image(make_pair, tmp_path) -> None:
    one = picture(tmp_path / "one.png", 1)
    copy = Path(shutil.copy(one, tmp_path / "copy.png"))
    other = picture(tmp_path / "other.png", 2)
    pairs = [
        make_pair("yes", (one,), question="Is there a lesion?", chosen="Yes", refused="No."),
        make_pair("no", (copy,), question="is there a lesion", chosen="no, nothing", refused="yes, one"),
        make_pair("elsewhere", (other,), question="Is there a lesion?", chosen="No", refused="Yes"),
        make_pair("other question", (one,), question="Is there a tube?", chosen="No", refused="Yes"),
    ]
    kept, reasons = run("contradictions", pairs, tmp_path)
    assert kept == ["elsewhere", "other question"]
    assert reasons == {
        "yes": "the same question on the same image has another chosen answer (pair no)",
        "no": "the same question on the same image has another chosen answer (pair yes)",
    }


def test_what_is_chosen_once_and_rejected_once_contradicts(make_pair, tmp_path) -> None:
    report = "The heart is enlarged, and there is a small effusion on the left side of the chest."
    pairs = [
        make_pair(
            "a", chosen=report, refused="All is well and nothing at all needs to be said of this image."
        ),
        make_pair(
            "b",
            chosen="An entirely different report that is as good and as long as the other.",
            refused=report,
        ),
        make_pair(
            "c", chosen="A third report, also longer than what may contradict by itself.", refused="Nothing."
        ),
    ]
    kept, reasons = run("contradictions", pairs, tmp_path)
    assert kept == ["c"]
    assert reasons["a"].startswith("what is chosen here is rejected")
    assert "pair b" in reasons["a"]
    assert reasons["b"].startswith("what is rejected here is chosen")
    assert "pair a" in reasons["b"]


def test_an_earlier_turn_makes_another_question(make_pair, tmp_path) -> None:
    pairs = [
        make_pair("a", chosen="left"),
        make_pair("b", chosen="right", history=(Turn("Which?", "The nodule."),)),
    ]
    assert run("contradictions", pairs, tmp_path)[0] == ["a", "b"]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Yes", "Yes, in the left lung", False),
        ("Yes", "No, the lung is clear", True),
        ("left lung", "the lung", False),
        ("enlarged", "not enlarged", True),
        ("left", "right", True),
        ("CT", "ct.", False),
        (
            "a text of more words than the limit allows here",
            "another text of more words than the limit allows",
            False,
        ),
    ],
)
def test_which_answers_contradict(one: str, other: str, expected: bool) -> None:
    assert contradict(one, other, 8) is contradict(other, one, 8) is expected


def test_an_image_that_is_gone_is_named(make_pair, tmp_path) -> None:
    with pytest.raises(InputError, match=r"pair a: an image cannot be read: .*gone\.png"):
        run("contradictions", [make_pair("a", (tmp_path / "gone.png",))], tmp_path)


def leaking(make_pair, count: int, share: float) -> list[Pair]:
    """Pairs whose answers tell nothing, of which a share rejects with a stock phrase."""
    rng = np.random.default_rng(3)
    pairs = []
    for number in range(count):
        left = rng.random() < 0.5
        said = ("left lung", "right lung") if left else ("right lung", "left lung")
        stock = " as an AI model" if number < share * count else ""
        pairs.append(
            make_pair(f"{number}", question=f"Where? {number}", chosen=said[0], refused=said[1] + stock)
        )
    return pairs


def test_the_leak_is_reported_and_its_pairs_removed_if_asked(make_pair, tmp_path) -> None:
    pairs = leaking(make_pair, 120, 0.5)
    kept, _ = run("leak", pairs, tmp_path)
    assert len(kept) == 120, "without a threshold nothing is removed"
    report = read_json(tmp_path / "leak.json")
    assert report["pairs"] == 120
    assert report["auc"] > 0.6
    kept, reasons = run("leak", pairs, tmp_path, threshold=0.9)
    assert set(reasons) == {str(number) for number in range(60)}
    assert all(
        reason.startswith("told apart without image and question (p = 0.9") for reason in reasons.values()
    )


def test_a_leak_that_cannot_be_measured_stops_only_what_would_be_removed_by_it(make_pair, tmp_path) -> None:
    pairs = leaking(make_pair, 5, 0.5)
    assert run("leak", pairs, tmp_path)[0] == [pair.id for pair in pairs]
    assert "5 images, too few" in read_json(tmp_path / "leak.json")["not_measured"]
    with pytest.raises(InputError, match="5 images, too few"):
        run("leak", pairs, tmp_path, threshold=0.9)


def variants(path: Path, folder: Path) -> list[Path]:
    """Save a picture again in ways that leave it the same picture."""
    with Image.open(path) as image:
        grey = image.convert("L")
    folder.mkdir()
    made = {
        "coarse.jpg": grey,
        "small.png": grey.resize((60, 60), Image.Resampling.LANCZOS),
        "bright.png": ImageEnhance.Brightness(grey).enhance(1.2),
        "flat.png": ImageEnhance.Contrast(grey).enhance(0.8),
        "colour.png": grey.convert("RGB"),
    }
    for name, image in made.items():
        image.save(folder / name, **({"quality": 60} if name.endswith("jpg") else {}))
    return [folder / name for name in made]


def test_a_picture_is_known_again_and_others_are_not(tmp_path) -> None:
    first = picture(tmp_path / "first.png", 1)
    index = PictureIndex([first])
    for path in variants(first, tmp_path / "variants"):
        match = index.find(path)
        assert match is not None, path.name
        assert match.path == first
        assert match.distance is not None, path.name
    hashes = [perceptual_hash(picture(tmp_path / f"{seed}.png", seed)) for seed in range(2, 12)]
    table = np.array(hashes)
    distances = hash_distances(table, table) + 1000 * np.eye(len(table), dtype=int)
    assert distances.min() > 2 * NEAR
    assert index.find(tmp_path / "5.png") is None


def test_the_same_bytes_are_found_at_any_distance(tmp_path) -> None:
    flat = tmp_path / "flat.png"
    Image.new("L", (40, 40)).save(flat)
    Image.new("L", (50, 50)).save(tmp_path / "other-flat.png")
    assert perceptual_hash(flat) is None
    index = PictureIndex([flat], -1)
    copy = Path(shutil.copy(flat, tmp_path / "copy.png"))
    assert index.find(copy) == (flat, None)
    assert PictureIndex([flat]).find(tmp_path / "other-flat.png") is None, (
        "flat pictures show nothing to compare"
    )


@pytest.fixture
def leaked(make_pair, tmp_path) -> list[Pair]:
    """Three pairs: on a test image's copy, on the same picture saved again, and on another picture."""
    test = picture(tmp_path / "test" / "t.png", 1)
    copy = Path(shutil.copy(test, tmp_path / "copy.png"))
    again = tmp_path / "again.jpg"
    with Image.open(test) as image:
        image.save(again, quality=70)
    return [
        make_pair("copy", (copy,)),
        make_pair("again", (again,)),
        make_pair("other", (picture(tmp_path / "other.png", 2),)),
        make_pair("text"),
    ]


@pytest.mark.parametrize("form", ["samples", "pairs", "folder"])
def test_pairs_on_test_images_are_left_out(leaked, make_pair, tmp_path, form: str) -> None:
    image = tmp_path / "test" / "t.png"
    places = {
        "samples": tmp_path / "test.jsonl",
        "pairs": tmp_path / "pairs.jsonl",
        "folder": tmp_path / "test",
    }
    write_samples(places["samples"], [Sample("s", "<image>\nWhat?", (image,), "a lung")])
    write_pairs(places["pairs"], [make_pair("t", (image,))])
    kept, reasons = run("test-leakage", leaked, tmp_path, files=str(places[form]))
    assert kept == ["other", "text"]
    name = places[form].name
    assert reasons["copy"] == f"its image is also in {name} (the same file, t.png)"
    assert reasons["again"].startswith(f"its image is also in {name} (the same picture, t.png, at ")
    assert run("test-leakage", leaked, tmp_path, files=str(places[form]), distance=None)[0] == [
        "again",
        "other",
        "text",
    ]


def test_test_data_without_images_is_an_error(leaked, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="the test data has no images"):
        run("test-leakage", leaked, tmp_path, files=[str(tmp_path / "empty")])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Is there a lesion in the left lung?", "en"),
        ("Gibt es eine Verschattung, und wo ist der Befund?", "de"),
        ("Quel est le plan de coupe dans cette image ?", "fr"),
        ("¿Hay una lesión en el pulmón y cuál es el lado?", "es"),
        ("Dove è la lesione nel polmone e quale lato è?", "it"),
        ("Onde está a lesão, e qual é o lado do pulmão em questão?", "pt"),
        ("Welke kant is het en wordt er een afwijking gezien?", "nl"),
        ("左肺有病变吗?", "zh"),
        ("左肺に病変がありますか", "ja"),
        ("Есть ли очаг в лёгком?", "ru"),
        ("Ground glass opacity, no no no", "en"),
        ("CT", "en"),
        ("T2-weighted, 3.5 cm", "en"),
    ],
)
def test_languages(text: str, found: str) -> None:
    assert guess(text, "en", 2) == found


def test_another_language_is_left_out(make_pair, tmp_path) -> None:
    pairs = [
        make_pair("en"),
        make_pair("de", chosen="Ja, es gibt eine Verschattung in der Lunge."),
        replace(make_pair("earlier"), history=(Turn("左肺有病变吗?", "Yes."),)),
    ]
    kept, reasons = run("language", pairs, tmp_path)
    assert kept == ["en"]
    assert reasons == {"de": "a text looks like de, not en", "earlier": "a text looks like zh, not en"}


def mask(path: Path, share: float, size: tuple[int, int] = (20, 20)) -> Path:
    pixels = np.zeros(size, dtype=np.uint8)
    pixels[: round(size[0] * share)] = 1
    Image.fromarray(pixels).save(path)
    return path


def test_regions_that_show_nothing_are_left_out(make_pair, tmp_path) -> None:
    image = picture(tmp_path / "image.png", size=20)
    shares = {"empty": 0.0, "small": 0.05, "half": 0.5, "whole": 1.0}
    pairs = [
        make_pair(name, (image,), region=mask(tmp_path / f"{name}.png", share))
        for name, share in shares.items()
    ]
    pairs.append(make_pair("none", (image,)))
    pairs.append(make_pair("misfit", (image,), region=mask(tmp_path / "misfit.png", 0.5, (20, 30))))
    kept, reasons = run("empty-roi", pairs, tmp_path)
    assert kept == ["half", "none", "small", "whole"]
    assert reasons["empty"] == "its region of interest is empty"
    assert reasons["misfit"] == "its region of interest does not fit its image (30 by 20 pixels for 20 by 20)"
    kept, reasons = run("empty-roi", pairs, tmp_path, least=0.1, most=0.9, needed=True)
    assert kept == ["half"]
    assert reasons["small"] == "its region of interest is too small (5.0 % of the image)"
    assert reasons["whole"] == "its region of interest is too large (100.0 % of the image)"
    assert reasons["none"] == "it names no region of interest"


@pytest.mark.parametrize("name", list(filter_recipes))
def test_unknown_settings_fail(name: str, tmp_path) -> None:
    with pytest.raises(ValidationError):
        filter_recipes[name].run([], {"unknown": 1}, RecipeContext(0, tmp_path))
