"""Ordinary image files as they come out of hospitals: deep greys, turned photographs, films, broken files."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from medpref.errors import InputError
from medpref.pairs.images import MAX_PIXELS, image_fault, image_size, open_image, open_mask, save_png
from medpref.pairs.images.display import by_depth
from medpref.pairs.images.export import export_images


def shown(path: Path) -> np.ndarray:
    image = open_image(path)
    assert image_size(path) == image.size
    assert image.info == {}
    return np.asarray(image)


# Largest value of the file → the value that becomes white.
WHITES = [(255, 255), (1000, 1023), (1023, 1023), (1024, 4095), (4095, 4095), (9000, 16383), (20000, 65535)]


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("largest", "white"), WHITES)
def test_deep_greys_by_the_bits_they_use(tmp_path: Path, largest: int, white: int, suffix: str) -> None:
    values = np.array([[0, largest // 2, largest]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    wanted = np.rint(values * (255 / white)).astype(np.uint8)
    assert np.array_equal(shown(tmp_path / f"a.{suffix}"), wanted)


@given(st.lists(st.integers(0, 65535), min_size=2, max_size=20))
def test_brighter_values_are_never_shown_darker(values: list[int]) -> None:
    ordered = np.sort(np.array([values], dtype=np.uint16))
    shades = by_depth(ordered).astype(int)
    assert (np.diff(shades) >= 0).all()
    # Two bits are the largest step between depths, so that the brightest reach a quarter of the range.
    assert shades.max() >= 63 or ordered.max() < 256


def test_fractions_and_negative_values_are_spread(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0.0, 0.25, 1.0]], np.float32)).save(tmp_path / "a.tif")
    Image.fromarray(np.array([[-1000, -500, 1000]], np.int32)).save(tmp_path / "b.tif")
    assert shown(tmp_path / "a.tif").tolist() == [[0, 64, 255]]
    assert shown(tmp_path / "b.tif").tolist() == [[0, 64, 255]]


def test_what_is_not_finite_is_black(tmp_path: Path) -> None:
    Image.fromarray(np.array([[np.nan, 1, 3, np.inf]], np.float32)).save(tmp_path / "a.tif")
    assert shown(tmp_path / "a.tif").tolist() == [[0, 0, 255, 255]]
    Image.fromarray(np.full((2, 2), np.nan, np.float32)).save(tmp_path / "b.tif")
    assert not shown(tmp_path / "b.tif").any()


def test_an_even_image_stays_even(tmp_path: Path) -> None:
    Image.fromarray(np.full((3, 3), 7.5, np.float32)).save(tmp_path / "a.tif")
    assert not shown(tmp_path / "a.tif").any()


CORNERS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14
UPRIGHT = {
    1: CORNERS,
    2: CORNERS[:, ::-1],
    3: CORNERS[::-1, ::-1],
    4: CORNERS[::-1],
    5: CORNERS.swapaxes(0, 1),
    6: np.rot90(CORNERS, -1),
    7: CORNERS[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90(CORNERS),
}


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_photographs_stand_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(CORNERS).save(tmp_path / f"a.{suffix}", exif=exif, **options)
    assert np.array_equal(shown(tmp_path / f"a.{suffix}"), UPRIGHT[orientation])


def test_a_turned_jpeg(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.linear_gradient("L").resize((64, 32)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    pixels = shown(tmp_path / "a.jpg").astype(int)
    assert pixels.shape == (64, 32)
    # The picture's top, which is dark, is at the right.
    assert (pixels[:, 0] > pixels[:, -1] + 200).all()


def test_colours_under_transparency_become_black(tmp_path: Path) -> None:
    pixels = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 128]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    opaque, clear, half = shown(tmp_path / "a.png")[0].tolist()
    assert (opaque, clear) == ([200, 100, 50], [0, 0, 0])
    assert np.abs(np.array(half) - [100, 50, 25]).max() <= 1


def test_opaque_layers_are_left_out(tmp_path: Path) -> None:
    pixels = np.dstack([CORNERS, np.full((2, 3), 255, np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(shown(tmp_path / "a.png"), CORNERS)


def test_palettes_and_their_transparent_entry(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    image.save(tmp_path / "a.png")
    assert shown(tmp_path / "a.png").tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    image.save(tmp_path / "b.png", transparency=1)
    assert shown(tmp_path / "b.png").tolist() == [[[255, 0, 0], [0, 0, 0], [0, 0, 255]]]


def test_a_transparent_grey(tmp_path: Path) -> None:
    Image.fromarray(np.array([[10, 20, 30]], np.uint8)).save(tmp_path / "a.png", transparency=20)
    assert shown(tmp_path / "a.png")[0, :, 0].tolist() == [10, 0, 30]


def test_inks_become_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (2, 1), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    assert shown(tmp_path / "a.tif").tolist() == [[[255, 0, 0]] * 2]


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert shown(tmp_path / "a.png").tolist() == [[255, 0]]


FRAMES = [Image.new("L", (4, 3), shade) for shade in (0, 120, 240)]


@pytest.mark.parametrize("suffix", ["gif", "tif", "png", "webp"])
def test_several_frames_are_counted_and_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    FRAMES[0].save(path, save_all=True, append_images=FRAMES[1:])
    for read in (open_image, image_size):
        with pytest.raises(InputError, match=f"a.{suffix}: the file holds 3 frames where a pair shows one"):
            read(path)
    assert "3 frames" in str(image_fault(path))


def test_a_phones_preview_is_no_second_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    FRAMES[1].save(path, "MPO", save_all=True, append_images=[FRAMES[2]])
    assert np.abs(shown(path).astype(int) - 120).max() <= 2
    assert len(export_images(path, tmp_path / "out").written) == 1


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """Return a PNG that promises this size, whatever its data hold."""
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", data),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(10_001, 10_000), (100_001, 1000)])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "a.png").write_bytes(png(width, height))
    for read in (open_image, image_size):
        with pytest.raises(InputError, match=f"over {MAX_PIXELS:,} pixels"):
            read(tmp_path / "a.png")


def test_a_real_bomb_is_refused_too(tmp_path: Path) -> None:
    # 65,000 × 65,000 black pixels would take 4 GiB.
    (tmp_path / "a.png").write_bytes(png(65_000, 65_000, zlib.compress(bytes(1_000_000))))
    assert image_fault(tmp_path / "a.png") in (
        f"the image has over {MAX_PIXELS:,} pixels",
        "the image cannot be read (DecompressionBombError)",
    )


BROKEN = {
    "empty.png": b"",
    "text.png": b"<html>404</html>",
    "zero.png": png(0, 5),
    "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "noise.jpg": b"\xff\xd8\xff\xe0" + bytes(range(256)),
    "noise.tif": b"II*\0" + b"\xff" * 64,
    "noise.gif": b"GIF89a" + b"\xff" * 16,
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_image_is_told_with_its_path(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BROKEN[name])
    for read in (open_image, image_size):
        with pytest.raises(InputError, match=r"the image (cannot be read|is empty|has over)") as caught:
            read(tmp_path / name)
        assert caught.value.where == str(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "gif", "bmp"])
def test_a_file_cut_short(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.effect_noise((64, 64), 60).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert str(image_fault(path)).startswith("the image cannot be read (")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for read in (open_image, image_size, open_mask):
        with pytest.raises(InputError, match="the image is missing"):
            read(tmp_path / "gone.png")
        with pytest.raises(InputError, match="the image cannot be read"):
            read(tmp_path)


def test_a_mask_is_wherever_a_pixel_is_not_black(tmp_path: Path) -> None:
    where = [[False, True, True]]
    labels = {
        "l.png": np.array([[0, 1, 255]], np.uint8),
        # Labels of 16 bits, one of them far below the others' shade.
        "deep.png": np.array([[0, 1, 40000]], np.uint16),
        "rgb.png": np.array([[[0, 0, 0], [0, 0, 1], [9, 9, 9]]], np.uint8),
    }
    for name, pixels in labels.items():
        Image.fromarray(pixels).save(tmp_path / name)
        assert open_mask(tmp_path / name).tolist() == where


def test_a_turned_mask_lies_on_its_turned_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.array([[0, 0, 9], [0, 0, 0]], np.uint8)).save(tmp_path / "a.png", exif=exif)
    assert open_mask(tmp_path / "a.png").tolist() == [[False, False], [False, False], [False, True]]


def test_what_a_photograph_tells_of_its_place_is_not_kept(tmp_path: Path) -> None:
    exif, text = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x010E] = "Jane Doe, room 12"
    text.add_text("Patient", "Jane Doe")
    Image.fromarray(CORNERS).save(tmp_path / "a.png", exif=exif, pnginfo=text, icc_profile=b"Jane Doe")
    image = open_image(tmp_path / "a.png")
    save_png(tmp_path / "b.png", image)
    image.info["icc_profile"] = b"Jane Doe"
    save_png(tmp_path / "c.png", image)
    for name in ("b.png", "c.png"):
        with Image.open(tmp_path / name) as saved:
            assert saved.info == {}
        assert np.array_equal(open_image(tmp_path / name), CORNERS)
