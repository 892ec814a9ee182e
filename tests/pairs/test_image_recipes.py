from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from tests.pairs.dicoms import make_dicom

from medpref.errors import InputError
from medpref.pairs.images import open_image
from medpref.pairs.pair import ImageRole, Pair
from medpref.pairs.recipes import RecipeContext, image_recipes
from medpref.pairs.recipes.images import (
    CropSettings,
    crop,
    diffuse,
    drawing,
    to_bytes,
    to_unit,
    workers,
)

# Those that draw on each image by itself: the others choose pairs, or name files that are there.
NAMES = [
    "crop",
    "noise",
    "roi-noise",
    "outside-noise",
    "roi-blur",
    "roi-inpaint",
    "blur",
    "patch-shuffle",
    "blank",
]
# What depends on the seed: where there is no region, the box that stands for it does.
DRAWN = [name for name in NAMES if name not in ("blur", "blank")]


def rejected(made: Pair) -> Path:
    (path,) = made.images[ImageRole.REJECTED]
    return path


def content(made: list[Pair]) -> dict[str, bytes]:
    return {pair.id: rejected(pair).read_bytes() for pair in made}


def test_the_recipes_are_those_of_the_study_and_more() -> None:
    assert list(image_recipes) == [*NAMES, "mirror", "erased", "counterfactual", "other-patient"]
    assert not any(recipe.asks_model({}) for _, recipe in image_recipes.items())


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bytes(name: str, pairs: list[Pair], tmp_path: Path) -> None:
    recipe = image_recipes[name]
    first = content(recipe.run(pairs, {}, RecipeContext(3, tmp_path / "1")))
    assert content(recipe.run(pairs, {}, RecipeContext(3, tmp_path / "2"))) == first


@pytest.mark.parametrize("name", DRAWN)
def test_another_seed_gives_other_bytes(name: str, pairs: list[Pair], tmp_path: Path) -> None:
    recipe = image_recipes[name]
    first = content(recipe.run(pairs, {}, RecipeContext(3, tmp_path / "1")))
    other = content(recipe.run(pairs, {}, RecipeContext(4, tmp_path / "3")))
    assert all(other[ident] != data for ident, data in first.items())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("per", ["image", "pair"])
def test_the_order_of_the_pairs_is_no_matter(name: str, per: str, pairs: list[Pair], tmp_path: Path) -> None:
    recipe = image_recipes[name]
    forward = content(recipe.run(pairs, {"per": per}, RecipeContext(3, tmp_path / "1")))
    assert content(recipe.run(pairs[::-1], {"per": per}, RecipeContext(3, tmp_path / "2"))) == forward
    alone = recipe.run(pairs[3:4], {"per": per}, RecipeContext(3, tmp_path / "3"))
    assert content(alone) == {pairs[3].id: forward[pairs[3].id]}


@pytest.mark.parametrize("name", NAMES)
def test_policy_and_reference_see_one_drawing(name: str, pairs: list[Pair], tmp_path: Path) -> None:
    (made,) = image_recipes[name].run(pairs[:1], {}, RecipeContext(3, tmp_path))
    before = rejected(made).read_bytes()
    (again,) = image_recipes[name].run(pairs[:1], {}, RecipeContext(3, tmp_path))
    assert rejected(again) == rejected(made)
    assert rejected(again).read_bytes() == before
    # Drawn inside a forward pass, from the state of one generator, the two would differ.
    pixels = np.asarray(Image.open(pairs[0].images[ImageRole.CLEAN][0]))
    rng = np.random.default_rng(3)
    drawn = [crop(pixels, None, CropSettings(), rng) for _ in range(2)]
    assert (drawn[0] != drawn[1]).any()


def test_pairs_on_one_image_share_a_drawing_or_not(pairs: list[Pair], tmp_path: Path) -> None:
    shared = image_recipes["noise"].run(pairs, {}, RecipeContext(3, tmp_path / "1"))
    assert rejected(shared[0]) == rejected(shared[1])
    assert rejected(shared[0]) != rejected(shared[2])
    own = image_recipes["noise"].run(pairs, {"per": "pair"}, RecipeContext(3, tmp_path / "2"))
    assert len({rejected(pair).read_bytes() for pair in own}) == len(pairs)


def test_a_moved_data_set_draws_the_same(make_image, make_pair, tmp_path: Path) -> None:
    here = make_image("a.png", 1)
    there = tmp_path / "moved" / "a.png"
    there.parent.mkdir()
    there.write_bytes(here.read_bytes())
    made = [
        image_recipes["noise"].run([make_pair("p", (path,))], {}, RecipeContext(3, tmp_path / str(n)))
        for n, path in enumerate((here, there))
    ]
    assert content(made[0]) == content(made[1])


def test_clean_images_stay_and_the_recipe_is_noted(pairs: list[Pair], tmp_path: Path) -> None:
    before = pairs[0].images[ImageRole.CLEAN][0].read_bytes()
    (made,) = image_recipes["crop"].run(pairs[:1], {}, RecipeContext(3, tmp_path))
    assert made.images[ImageRole.CLEAN] == pairs[0].images[ImageRole.CLEAN]
    assert pairs[0].images[ImageRole.CLEAN][0].read_bytes() == before
    assert (made.provenance.recipe, made.provenance.seed) == ("crop", 3)


def test_two_images_of_one_prompt_are_both_made(make_image, make_pair, tmp_path: Path) -> None:
    two = make_pair("two", (make_image("a.png", 1), make_image("b.png", 2)))
    (made,) = image_recipes["noise"].run([two], {}, RecipeContext(3, tmp_path))
    assert len(set(made.images[ImageRole.REJECTED])) == 2


@pytest.mark.parametrize("name", NAMES)
def test_a_pair_without_an_image_is_an_error_that_names_it(name: str, make_pair, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"pair text: the recipe {name} needs an image"):
        image_recipes[name].run([make_pair("text")], {}, RecipeContext(3, tmp_path))


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P"])
@pytest.mark.parametrize("name", NAMES)
def test_every_mode_of_image_can_be_corrupted(
    name: str, mode: str, make_image, make_pair, tmp_path: Path
) -> None:
    path = make_image("a.png")
    Image.open(path).convert(mode).save(path)
    (made,) = image_recipes[name].run([make_pair("p", (path,))], {}, RecipeContext(3, tmp_path))
    with Image.open(rejected(made)) as image:
        assert image.size == (32, 32)
        assert image.mode == ("L" if mode in ("1", "L") else "RGB")


@given(st.integers(3, 40), st.integers(3, 40), st.integers(0, 10), st.booleans())
def test_crop_keeps_the_size(height: int, width: int, seed: int, grey: bool) -> None:
    pixels = np.zeros((height, width) if grey else (height, width, 3), np.uint8)
    made = crop(pixels, None, CropSettings(), np.random.default_rng(seed))
    assert made.shape == pixels.shape
    assert made.dtype == np.uint8


def test_crop_keeps_between_1_and_20_percent_of_the_area(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    whole = Image.fromarray

    def watch(part: np.ndarray) -> Image.Image:
        kept.append(part.shape[0] * part.shape[1] / 200**2)
        return whole(part)

    monkeypatch.setattr(Image, "fromarray", watch)
    rng = np.random.default_rng(0)
    for _ in range(200):
        crop(np.zeros((200, 200), np.uint8), None, CropSettings(), rng)
    assert 0.009 < min(kept) < 0.03
    assert 0.18 < max(kept) < 0.205
    # Uniform in the area, not in the edge: the mean of [0.01, 0.2] is 0.105.
    assert np.mean(kept) == pytest.approx(0.105, abs=0.015)


def test_crop_shows_a_part_of_the_image() -> None:
    rows = np.repeat(np.arange(200, dtype=np.uint8)[:, None], 200, axis=1)
    made = crop(rows, None, CropSettings(), np.random.default_rng(1))
    assert 2 < np.ptp(made) <= 200 * 0.2**0.5 + 2


def test_a_run_stopped_while_writing_leaves_no_file_to_be_taken_for_whole(
    pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            image_recipes["noise"].run(pairs[:1], {}, RecipeContext(3, tmp_path / "out"))
    assert not list((tmp_path / "out/images").iterdir())
    (made,) = image_recipes["noise"].run(pairs[:1], {}, RecipeContext(3, tmp_path / "out"))
    assert Image.open(rejected(made)).size


def test_another_seed_in_the_same_folder_draws_anew(pairs: list[Pair], tmp_path: Path) -> None:
    (first,) = image_recipes["noise"].run(pairs[:1], {}, RecipeContext(3, tmp_path))
    before = rejected(first).read_bytes()
    (second,) = image_recipes["noise"].run(pairs[:1], {}, RecipeContext(4, tmp_path))
    assert rejected(second).read_bytes() != before


def test_noise_follows_q_of_x_k() -> None:
    # The schedule on its own: sigmoid(x) over [−6, 6], 1e-5 … 5e-3; the share kept is the product
    kept = 1.0
    for i in range(500):
        kept *= 1 - (1e-5 + (5e-3 - 1e-5) / (1 + np.exp(-(-6 + 12 * i / 999))))
    for value in (-0.8, 0.0, 0.6):
        drawn = diffuse(np.full((300, 300), value), 500, np.random.default_rng(0))
        assert drawn.mean() == pytest.approx(kept**0.5 * value, abs=0.01)
        assert drawn.var() == pytest.approx(1 - kept, rel=0.02)


def test_more_steps_are_more_noise() -> None:
    spread = [diffuse(np.zeros((100, 100)), k, np.random.default_rng(0)).std() for k in (1, 250, 500, 1000)]
    assert spread == sorted(spread)
    assert spread[0] < 0.01
    assert spread[-1] < 1.02


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
def test_bytes_are_clipped_and_never_wrap(values: list[float]) -> None:
    array = np.array(values)
    made = to_bytes(array)
    assert (made[array <= -1] == 0).all()
    assert (made[array >= 1] == 255).all()


def test_wrapping_would_turn_black_to_white() -> None:
    dark = np.array([-1.1, -1.05, 1.1])
    assert to_bytes(dark).tolist() == [0, 0, 255]
    # Written into a byte before clipping: −12.75 → 244.
    wrapped = ((dark + 1) * 127.5).astype(np.int64).astype(np.uint8)
    assert wrapped.tolist() == [244, 250, 11]


def test_bytes_survive_the_way_to_units_and_back() -> None:
    every = np.arange(256, dtype=np.uint8)
    assert to_bytes(to_unit(every)).tolist() == every.tolist()
    assert (to_unit(every).min(), to_unit(every).max()) == (-1, 1)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("crop", {"least": 0}), ("crop", {"most": 1.5}), ("noise", {"step": 0}), ("noise", {"steps": 3})],
)
def test_wrong_settings_fail(name: str, settings: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        image_recipes[name].run([], settings, RecipeContext(0, tmp_path))


def test_a_crop_whose_least_is_over_its_most_fails() -> None:
    with pytest.raises(ValidationError):
        CropSettings(least=0.5, most=0.2)


def test_the_number_of_workers_is_no_matter(make_image, make_pair, tmp_path: Path) -> None:
    pairs = [make_pair(f"p{n}", (make_image(f"{n}.png", n),)) for n in range(workers.LEAST)]
    recipe = image_recipes["roi-noise"]
    alone = recipe.run(pairs, {}, RecipeContext(3, tmp_path / "1"))
    steps: list[int] = []
    context = RecipeContext(3, tmp_path / "2", workers=2, advance=steps.append)
    several = recipe.run(pairs, {}, context)
    assert content(several) == content(alone)
    assert sum(steps) == len(pairs)
    assert [pair.provenance for pair in several] == [pair.provenance for pair in alone]


def test_an_error_in_a_worker_reaches_the_person_whole(make_image, make_pair, tmp_path: Path) -> None:
    pairs = [make_pair(f"p{n}", (make_image(f"{n}.png", n),)) for n in range(workers.LEAST)]
    Image.new("1", (16, 16), 1).save(tmp_path / "mask.png")
    pairs[9] = replace(pairs[9], region=tmp_path / "mask.png")
    with pytest.raises(InputError, match="pair p9") as caught:
        image_recipes["roi-noise"].run(pairs, {}, RecipeContext(3, tmp_path / "out", workers=2))
    assert caught.value.what.startswith("the region of interest is 16 × 16 pixels")


@pytest.mark.parametrize("name", NAMES)
def test_progress_counts_every_pair_once(name: str, pairs: list[Pair], make_image, tmp_path: Path) -> None:
    two = replace(pairs[0], id="two", prompt="<image><image>both?")
    two = two.with_images(ImageRole.CLEAN, (*pairs[0].images[ImageRole.CLEAN], make_image("x.png", 9)))
    steps: list[int] = []
    image_recipes[name].run([*pairs, two], {}, RecipeContext(3, tmp_path, advance=steps.append))
    assert sum(steps) == len(pairs) + 1


def test_what_is_there_is_not_drawn_again(
    pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = image_recipes["roi-noise"].run(pairs, {}, RecipeContext(3, tmp_path))
    missing = rejected(first[0])
    before = missing.read_bytes()
    missing.unlink()
    written = []
    save = drawing.save_png
    monkeypatch.setattr(drawing, "save_png", lambda path, image: (written.append(path), save(path, image)))
    again = image_recipes["roi-noise"].run(pairs, {}, RecipeContext(3, tmp_path))
    assert written == [missing]
    assert missing.read_bytes() == before
    assert again == first


def test_an_image_that_a_corruption_does_not_change_is_left_out(make_pair, tmp_path: Path) -> None:
    Image.new("L", (16, 16), 0).save(tmp_path / "black.png")
    context = RecipeContext(3, tmp_path / "out")
    assert not image_recipes["blank"].run([make_pair("p", (tmp_path / "black.png",))], {}, context)
    assert [(left.id, left.recipe, left.reason) for left in context.left_out] == [
        ("p", "blank", "the corruption changes nothing on this image")
    ]
    assert not list((tmp_path / "out").rglob("*.png"))


def deep(path: Path) -> Path:
    Image.fromarray((np.random.default_rng(0).random((32, 32)) * 4095).astype(np.uint16)).save(path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_16_bit_images_are_read_as_everywhere_else(name: str, make_pair, tmp_path: Path) -> None:
    path = deep(tmp_path / "deep.png")
    (made,) = image_recipes[name].run([make_pair("p", (path,))], {}, RecipeContext(3, tmp_path / "out"))
    with Image.open(rejected(made)) as image:
        assert (image.mode, image.size) == ("L", (32, 32))


def test_dicom_images_are_read_as_everywhere_else(make_pair, tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "scan.dcm", np.arange(1024, dtype=np.uint16).reshape(32, 32))
    region = np.zeros((32, 32), bool)
    region[4:9, 4:9] = True
    Image.fromarray(region).save(tmp_path / "mask.png")
    pair = make_pair("p", (path,), region=tmp_path / "mask.png")
    (made,) = image_recipes["roi-noise"].run([pair], {}, RecipeContext(3, tmp_path / "out"))
    before, after = np.asarray(open_image(path)), np.asarray(Image.open(rejected(made)))
    assert (before[~region] == after[~region]).all()
    assert (before[region] != after[region]).any()
