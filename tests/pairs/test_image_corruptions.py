"""What each corruption does to pixels."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.ndimage import laplace

from medpref.pairs.recipes import image_recipes
from medpref.pairs.recipes.images import (
    BlankSettings,
    BlurSettings,
    CropSettings,
    ImageSettings,
    InpaintSettings,
    NoiseSettings,
    ShuffleSettings,
    UnusableImageError,
    blank,
    blur,
    flip,
    outside_noise,
    patch_shuffle,
    roi_blur,
    roi_inpaint,
    roi_noise,
)
from medpref.pairs.recipes.images.corruption import corruptions

REGIONAL = {
    "roi-noise": (roi_noise, NoiseSettings()),
    "roi-blur": (roi_blur, BlurSettings()),
    "roi-inpaint": (roi_inpaint, InpaintSettings()),
}
SETTINGS = {
    "crop": CropSettings(),
    "noise": NoiseSettings(),
    "blur": BlurSettings(),
    "patch-shuffle": ShuffleSettings(),
    "blank": BlankSettings(),
    "mirror": ImageSettings(),
    "outside-noise": NoiseSettings(),
    **{name: settings for name, (_, settings) in REGIONAL.items()},
}
RNG = np.random.default_rng


def picture(height: int, width: int, *, grey: bool = False, seed: int = 0) -> np.ndarray:
    shape = (height, width) if grey else (height, width, 3)
    return RNG(seed).integers(0, 256, shape, dtype=np.uint8)


def disc(height: int, width: int, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    mask: np.ndarray = np.hypot(rows - height / 2, columns - width / 2) < radius
    return mask


def test_every_corruption_is_tried_here() -> None:
    assert set(SETTINGS) == set(corruptions)
    assert set(corruptions) <= set(image_recipes)
    assert {name for name, made in corruptions.items() if made.regional} == {*REGIONAL, "outside-noise"}


@given(
    st.sampled_from(sorted(SETTINGS)),
    st.integers(9, 40),
    st.integers(9, 40),
    st.booleans(),
    st.integers(0, 9),
)
def test_shape_and_type_stay_and_the_input_is_not_touched(
    name: str, height: int, width: int, grey: bool, seed: int
) -> None:
    pixels = picture(height, width, grey=grey, seed=seed)
    before = pixels.copy()
    region = disc(height, width, 3)
    made = corruptions[name].corrupt(pixels, region, SETTINGS[name], RNG(seed))
    assert made.shape == pixels.shape
    assert made.dtype == np.uint8
    assert (pixels == before).all()
    assert (made != pixels).any()


@given(st.sampled_from(sorted(REGIONAL)), st.integers(10, 30), st.integers(10, 30), st.integers(0, 99))
def test_outside_the_region_nothing_changes_to_the_bit(name: str, height: int, width: int, seed: int) -> None:
    corrupt, settings = REGIONAL[name]
    pixels = picture(height, width, seed=seed)
    region = RNG(seed).random((height, width)) < 0.2
    region[0, 0], region[-1, -1] = True, False
    made = corrupt(pixels, region, settings, RNG(seed))
    assert (made[~region] == pixels[~region]).all()
    assert (made[region] != pixels[region]).any()


def test_noise_outside_leaves_the_region_and_changes_all_else() -> None:
    pixels, region = picture(40, 40), disc(40, 40, 10)
    made = outside_noise(pixels, region, NoiseSettings(), RNG(0))
    assert (made[region] == pixels[region]).all()
    assert (made[~region] != pixels[~region]).mean() > 0.9
    # It is what noise inside leaves out: the same draw, on the other side of the edge.
    inner = roi_noise(pixels, region, NoiseSettings(), RNG(0))
    whole = roi_noise(pixels, np.ones((40, 40), bool), NoiseSettings(), RNG(0))
    assert (np.where(region[..., None], inner, made) == whole).all()


def test_noise_outside_a_region_that_is_everything_cannot_be() -> None:
    with pytest.raises(UnusableImageError):
        outside_noise(picture(8, 8), np.ones((8, 8), bool), NoiseSettings(), RNG(0))


@pytest.mark.parametrize("step", [100, 500, 900])
def test_noise_on_mid_grey_has_the_variance_of_its_step(step: int) -> None:
    betas = 1e-5 + (5e-3 - 1e-5) / (1 + np.exp(-np.linspace(-6, 6, 1000)))
    spread = 127.5 * (1 - np.prod(1 - betas[:step])) ** 0.5
    made = corruptions["noise"].corrupt(
        np.full((200, 200), 128, np.uint8), None, NoiseSettings(step=step), RNG(0)
    )
    # The median of |x| is 0.674 σ: unlike the variance, it is not moved by clipping.
    assert np.median(np.abs(made - 127.5)) == pytest.approx(0.6745 * spread, rel=0.02, abs=0.6)


def test_twice_mirrored_is_the_same() -> None:
    pixels = picture(7, 12)
    once = flip(pixels, None, ImageSettings(), RNG(0))
    assert (once[:, 0] == pixels[:, -1]).all()
    assert (flip(once, None, ImageSettings(), RNG(0)) == pixels).all()


@given(st.integers(2, 9), st.integers(2, 40), st.integers(2, 40), st.booleans(), st.integers(0, 9))
def test_shuffling_keeps_all_patches_and_the_rest_in_place(
    patches: int, height: int, width: int, grey: bool, seed: int
) -> None:
    pixels = picture(height, width, grey=grey, seed=seed)
    made = patch_shuffle(pixels, None, ShuffleSettings(patches=patches), RNG(seed))
    tall, wide = height // min(patches, height), width // min(patches, width)
    rows, columns = min(patches, height), min(patches, width)

    def cut(image: np.ndarray) -> list[bytes]:
        return [
            image[r * tall : (r + 1) * tall, c * wide : (c + 1) * wide].tobytes()
            for r in range(rows)
            for c in range(columns)
        ]

    assert Counter(cut(made)) == Counter(cut(pixels))
    assert cut(made) != cut(pixels) or len(set(cut(pixels))) < rows * columns
    assert (made[rows * tall :] == pixels[rows * tall :]).all()
    assert (made[:, columns * wide :] == pixels[:, columns * wide :]).all()


def test_a_line_of_pixels_cannot_be_shuffled() -> None:
    with pytest.raises(UnusableImageError):
        patch_shuffle(picture(1, 9), None, ShuffleSettings(), RNG(0))


def test_blank_is_black_or_the_mean_colour() -> None:
    pixels = picture(9, 9)
    assert not blank(pixels, None, BlankSettings(), RNG(0)).any()
    mean = blank(pixels, None, BlankSettings(colour="mean"), RNG(0))
    assert np.ptp(mean.reshape(-1, 3), axis=0).tolist() == [0, 0, 0]
    assert np.abs(mean[0, 0] - pixels.reshape(-1, 3).mean(0)).max() <= 0.5


def test_blur_is_relative_to_the_longer_side_and_keeps_the_mean() -> None:
    for width in (60, 120):
        step = np.zeros((width, width), np.uint8)
        step[:, width // 2 :] = 255
        line = blur(step, None, BlurSettings(sigma=0.05), RNG(0))[0].astype(float)
        # Between 16 % and 84 % of the way an edge that was blurred by σ is 2 σ wide.
        rising = np.interp([0.1587 * 255, 0.8413 * 255], line, np.arange(width))
        assert np.diff(rising)[0] == pytest.approx(2 * 0.05 * width, rel=0.1)
        assert line.mean() == pytest.approx(127.5, abs=1)


def test_blur_does_not_mix_channels() -> None:
    pixels = np.zeros((30, 30, 3), np.uint8)
    pixels[10:20, 10:20, 0] = 200
    assert not blur(pixels, None, BlurSettings(), RNG(0))[..., 1:].any()


def test_stronger_settings_blur_more() -> None:
    pixels = picture(60, 60, grey=True)
    spread = [blur(pixels, None, BlurSettings(sigma=s), RNG(0)).std() for s in (0.01, 0.03, 0.1)]
    assert spread == sorted(spread, reverse=True)


@pytest.mark.parametrize("most", [16, 200, 10_000])
def test_inpainting_continues_a_ramp_and_forgets_what_was_inside(most: int) -> None:
    ramp = np.broadcast_to(np.linspace(40, 200, 64), (64, 64)).round().astype(np.uint8)
    region = disc(64, 64, 12)
    lesions = [np.where(region, value, ramp).astype(np.uint8) for value in (0, 255)]
    made = [roi_inpaint(image, region, InpaintSettings(most=most), RNG(0)) for image in lesions]
    # Nothing of the inside is left: whatever stood there, the fill is the same.
    assert (made[0] == made[1]).all()
    assert np.abs(made[0].astype(int) - ramp)[region].max() <= (2 if most == 10_000 else 25)


def test_inpainting_is_smooth() -> None:
    rows, columns = np.mgrid[:48, :48]
    bowl = ((rows - 24) ** 2 + (columns - 24) ** 2) / 1152 * 255
    region = disc(48, 48, 8)
    noisy = np.where(region, picture(48, 48, grey=True), bowl).astype(np.uint8)
    made = roi_inpaint(noisy, region, InpaintSettings(), RNG(0))
    assert np.abs(laplace(made.astype(float)))[region].max() < 12 < np.abs(laplace(noisy.astype(float))).max()


def test_a_large_region_is_solved_on_a_smaller_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    from medpref.pairs.recipes.images import regional

    solved = []
    whole = regional.inpaint_biharmonic

    def watch(values: np.ndarray, hole: np.ndarray, **rest: object) -> np.ndarray:
        solved.append(int(hole.sum()))
        return whole(values, hole, **rest)

    monkeypatch.setattr(regional, "inpaint_biharmonic", watch)
    region = disc(200, 200, 80)
    roi_inpaint(picture(200, 200), region, InpaintSettings(most=1000), RNG(0))
    roi_inpaint(picture(200, 200), region, InpaintSettings(most=100_000), RNG(0))
    assert 500 < solved[0] < 1500
    assert solved[1] == region.sum()


@pytest.mark.parametrize("most", [16, 10_000])
def test_a_region_without_surroundings_cannot_be_filled(most: int) -> None:
    with pytest.raises(UnusableImageError):
        roi_inpaint(picture(20, 20), np.ones((20, 20), bool), InpaintSettings(most=most), RNG(0))


@pytest.mark.parametrize("corrupt", [roi_noise, outside_noise, roi_blur, roi_inpaint])
@pytest.mark.parametrize("region", [None, np.zeros((32, 40), bool)])
def test_without_a_region_a_box_of_a_quarter_stands_for_it(corrupt, region: np.ndarray | None) -> None:
    settings = {roi_blur: BlurSettings(), roi_inpaint: InpaintSettings()}.get(corrupt, NoiseSettings())
    pixels = np.kron(picture(16, 20, grey=True), np.ones((2, 2), np.uint8))
    changed = corrupt(pixels, region, settings, RNG(0)) != pixels
    box = ~changed if corrupt is outside_noise else changed
    # Here and there a pixel is the same by chance, or outside the box by no chance at all.
    assert 0.8 / 16 < box.mean() < 1.3 / 16
    if corrupt is not outside_noise:
        rows, columns = box.nonzero()
        assert (np.ptp(rows), np.ptp(columns)) == (7, 9)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("blank", {"colour": "white"}),
        ("blur", {"sigma": 0}),
        ("blur", {"sigma": 2}),
        ("patch-shuffle", {"patches": 1}),
        ("roi-inpaint", {"most": 1}),
        ("roi-blur", {"grow": -0.1}),
        ("roi-noise", {"empty": "skip"}),
        ("roi-noise", {"region": {"from": "nowhere"}}),
        ("roi-noise", {"region": {"from": "model", "quantile": 1}}),
        ("outside-noise", {"step": 1001}),
        ("mirror", {"kinds": []}),
        ("erased", {"twin": "twin.png"}),
        ("erased", {"twin": "{stem}-{number}.png"}),
        ("erased", {"twin": "{stem"}),
        ("other-patient", {"among": 0}),
    ],
)
def test_wrong_settings_of_a_recipe_fail(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        image_recipes[name].settings.model_validate(settings)
