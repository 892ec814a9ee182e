from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from medpref.errors import InputError
from medpref.pairs.regions import Box, from_boxes, from_heat, from_square, grown, read_heat, read_mask

EDGE = st.integers(1, 40)


@given(EDGE, EDGE, st.data())
def test_a_box_in_pixels_covers_its_pixels_and_no_others(
    height: int, width: int, data: st.DataObject
) -> None:
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    wide, tall = data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top))
    mask = from_boxes([Box(x=left, y=top, width=wide, height=tall)], height, width)
    assert mask.shape == (height, width)
    assert mask.dtype == bool
    assert mask.sum() == wide * tall
    assert mask[top : top + tall, left : left + wide].all()


@given(EDGE, EDGE, st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_box_in_shares_inside_the_image_is_never_empty(
    height: int, width: int, x: float, y: float, wide: float, tall: float
) -> None:
    box = Box(x=x * (1 - wide), y=y * (1 - tall), width=wide, height=tall, unit="shares")
    mask = from_boxes([box], height, width)
    assert mask.any()
    assert abs(mask.any(axis=0).sum() - wide * width) <= 1
    assert abs(mask.any(axis=1).sum() - tall * height) <= 1


def test_shares_and_pixels_name_the_same_box() -> None:
    pixels = from_boxes([Box(x=10, y=4, width=20, height=8)], 16, 40)
    shares = from_boxes([Box(x=0.25, y=0.25, width=0.5, height=0.5, unit="shares")], 16, 40)
    assert (pixels == shares).all()


def test_several_boxes_are_one_region() -> None:
    mask = from_boxes([Box(x=0, y=0, width=2, height=2), Box(x=1, y=1, width=2, height=2)], 4, 4)
    assert mask.sum() == 7


@pytest.mark.parametrize(
    "box",
    [
        {"x": 30, "y": 0, "width": 11, "height": 1},
        {"x": 0, "y": 10, "width": 1, "height": 7},
        {"x": 0.5, "y": 0, "width": 0.6, "height": 0.1, "unit": "shares"},
        {"x": 10, "y": 4, "width": 20, "height": 8, "unit": "shares"},
    ],
)
def test_a_box_that_reaches_out_of_the_image_is_an_error(box: dict[str, float]) -> None:
    with pytest.raises(InputError, match="the image has 40 × 16"):
        from_boxes([Box.model_validate(box)], 16, 40)


@pytest.mark.parametrize(
    "box",
    [
        {"x": -1, "y": 0, "width": 1, "height": 1},
        {"x": 0, "y": 0, "width": 0, "height": 1},
        {"x": 0, "y": 0, "width": 1},
        {"x": 0, "y": 0, "width": 1, "height": 1, "unit": "feet"},
        {"x": float("nan"), "y": 0, "width": 1, "height": 1},
        {"x": float("inf"), "y": 0, "width": 1, "height": 1},
    ],
)
def test_what_is_no_box_is_refused(box: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Box.model_validate(box)


def test_a_mask_of_another_size_is_an_error(tmp_path: Path) -> None:
    Image.new("1", (16, 8), 1).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", 8, 16).all()
    with pytest.raises(InputError, match="16 × 8 pixels, the image 8 × 16"):
        read_mask(tmp_path / "mask.png", 16, 8)


@given(st.integers(0, 1000), st.floats(0, 0.99))
def test_a_heat_map_gives_its_hottest_share(seed: int, quantile: float) -> None:
    heat = np.random.default_rng(seed).random((20, 30))
    mask = from_heat(heat, quantile, 20, 30)
    assert mask.mean() == pytest.approx(1 - quantile, abs=1 / 300)
    assert heat[mask].min() > heat[~mask].max() if not mask.all() else True


def test_a_small_hot_spot_on_nothing_is_the_region_and_not_the_whole_image() -> None:
    heat = np.zeros((20, 20))
    heat[3, 4] = 5
    assert np.argwhere(from_heat(heat, 0.5, 20, 20)).tolist() == [[3, 4]]


def test_a_hot_plateau_is_the_region() -> None:
    heat = np.zeros((10, 10))
    heat[:5] = 1
    assert (from_heat(heat, 0.9, 10, 10) == (heat == 1)).all()


def test_a_map_without_difference_points_nowhere() -> None:
    assert not from_heat(np.full((5, 5), 3.0), 0.9, 10, 10).any()


def test_a_coarse_map_is_scaled_to_the_image() -> None:
    heat = np.zeros((4, 4))
    heat[0, 3] = 1
    rows, columns = np.nonzero(from_heat(heat, 0.95, 40, 80))
    assert rows.max() < 15
    assert columns.min() > 50


@pytest.mark.parametrize("kind", ["float64", "float16", "uint8", "int32", "bool"])
def test_npy_maps_of_any_number_are_read(kind: str, tmp_path: Path) -> None:
    values = np.array([[0, 1], [1, 0]], dtype=kind)
    np.save(tmp_path / "heat.npy", values)
    assert (read_heat(tmp_path / "heat.npy") == values.astype(float)).all()


@pytest.mark.parametrize(("mode", "deep"), [("L", False), ("I;16", True), ("RGB", False)])
def test_grey_images_are_heat_maps_too(mode: str, deep: bool, tmp_path: Path) -> None:
    values = np.arange(16).reshape(4, 4) * (4000 if deep else 16)
    image = Image.fromarray(values.astype(np.uint16 if deep else np.uint8))
    (image if deep else image.convert(mode)).save(tmp_path / "heat.png")
    read = read_heat(tmp_path / "heat.png")
    assert (read == values).all()


def test_colours_are_no_heat(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "heat.png")
    with pytest.raises(InputError, match="colours"):
        read_heat(tmp_path / "heat.png")


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((2, 2, 2)),
        np.zeros((0, 4)),
        np.zeros(4),
        np.float64(3),
        np.array([[1, np.nan]]),
        np.array([[1, np.inf]]),
        np.array([["a", "b"]]),
        np.array([[1j]]),
    ],
)
def test_what_is_no_map_is_refused_with_its_path(values: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "heat.npy", values)
    with pytest.raises(InputError, match=r"heat\.npy"):
        read_heat(tmp_path / "heat.npy")


def test_pickled_files_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "heat.npy", np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read"):
        read_heat(tmp_path / "heat.npy")


def test_a_broken_or_missing_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "heat.npy").write_bytes(b"\x93NUMPY")
    for name in ("heat.npy", "none.npy", "none.png"):
        with pytest.raises(InputError, match=name):
            read_heat(tmp_path / name)


def test_a_mask_grows_by_a_disc() -> None:
    mask = np.zeros((21, 21), bool)
    mask[10, 10] = True
    rows, columns = np.mgrid[-10:11, -10:11]
    assert (grown(mask, 5) == (rows**2 + columns**2 <= 25)).all()
    assert (grown(mask, 0) == mask).all()
    assert not grown(np.zeros((4, 4), bool), 3).any()


def _spot(height: int, width: int) -> np.ndarray:
    heat = np.zeros((height, width))
    heat[height // 4, width // 4] = 1
    return heat


def test_a_padded_square_is_cut_back_to_the_image() -> None:
    square = np.arange(16.0).reshape(4, 4)
    assert (from_square(square, 2, 4, shown="padded") == square[1:3]).all()
    assert (from_square(square, 4, 2, shown="padded") == square[:, 1:3]).all()
    assert (from_square(square, 4, 4, shown="padded") == square).all()


def test_a_cropped_square_covers_the_middle() -> None:
    square = np.arange(1.0, 17).reshape(4, 4)
    whole = from_square(square, 4, 8, shown="cropped")
    assert (whole[:, 2:6] == square).all()
    assert (whole[:, [0, 1, 6, 7]] == 1).all()


def test_a_stretched_square_covers_all() -> None:
    heat = from_square(_spot(8, 8), 32, 64, shown="stretched")
    top = np.unravel_index(heat.argmax(), heat.shape)
    assert heat.shape == (32, 64)
    assert abs(top[0] - 10) <= 2
    assert abs(top[1] - 20) <= 4
