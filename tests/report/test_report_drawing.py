import base64
import io
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from medpref.report import wording
from medpref.report.curves import curve_figures
from medpref.report.images import LARGEST, read_outline, read_picture
from medpref.report.layout import Layout
from medpref.report.load import Curve
from medpref.report.svg import Scale, drawing, extent, label, ticks

LAYOUT = Layout((), ("tiny",), ("sft", "dpo"), ("sft",))


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (0, 1, 2, [0, 0.5, 1]),
        (0.07, 0.71, 3, [0.5]),
        (-23, -1, 3, [-20, -10]),
        (3, 3, 4, [3]),
        (0, 300, 3, [0, 100, 200, 300]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, count: int, expected: list[float]) -> None:
    assert ticks(low, high, count) == expected


def test_a_scale_keeps_values_inside() -> None:
    scale = Scale(0, 2, 10, 30)
    assert [scale(value) for value in (-1, 0, 1, 2, 5)] == [10, 10, 20, 30, 30]
    assert Scale(1, 1, 10, 30)(1) == 20


def test_an_extent_is_never_empty() -> None:
    low, high = extent([0.0, 0.0])
    assert low < 0 < high


def test_text_in_a_drawing_is_escaped() -> None:
    drawn = drawing(10, 10, [label((0, 0), "<b>&")], label='"><script>', class_="x")
    root = ElementTree.fromstring(drawn)
    assert [child.text for child in root] == ['"><script>', "<b>&"]


def test_curves_have_a_panel_for_each_method_that_logs_them() -> None:
    def rows(*keys: str) -> tuple[dict[str, float], ...]:
        return tuple({"step": step, **dict.fromkeys(keys, 1.0 / step)} for step in range(10, 50, 10))

    curves = [Curve("tiny", 0, "sft", rows("loss")), Curve("tiny", 0, "dpo", rows("loss", "rewards/margins"))]
    found = {
        figure.quantity.key: [panel.method for panel in figure.panels]
        for figure in curve_figures(curves, LAYOUT)
    }
    assert found == {"loss": ["sft", "dpo"], "rewards/margins": ["dpo"]}


def test_long_curves_are_thinned_and_holes_passed_over() -> None:
    rows = tuple({"step": step, "loss": math.nan if step == 7 else 1.0} for step in range(5000))
    [figure] = curve_figures([Curve("tiny", 0, "dpo", rows)], LAYOUT)
    root = ElementTree.fromstring(figure.panels[0].drawing)
    [path] = [element for element in root if element.get("class") == "curve"]
    assert 50 <= str(path.get("d")).count("L") < 100
    assert "nan" not in str(path.get("d"))


def test_a_curve_of_one_point_is_left_out() -> None:
    assert curve_figures([Curve("tiny", 0, "dpo", ({"step": 1, "loss": 1.0},))], LAYOUT) == []


def decode(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


def test_a_small_image_stays_exact(tmp_path: Path) -> None:
    pixels = np.arange(64 * 48, dtype=np.uint8).reshape(48, 64)
    Image.fromarray(pixels).save(tmp_path / "small.png")
    picture = read_picture(tmp_path / "small.png")
    assert picture is not None
    assert (picture.width, picture.height, picture.pixelated) == (64, 48, True)
    assert (np.asarray(decode(picture.uri)) == pixels).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
def test_a_large_image_is_made_small(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (1600, 800), "red").convert(mode).save(tmp_path / "large.tif")
    picture = read_picture(tmp_path / "large.tif")
    assert picture is not None
    assert (picture.width, picture.height, picture.pixelated) == (LARGEST, LARGEST // 2, False)
    assert len(picture.uri) < 20_000


def test_deep_grey_values_are_shown_as_models_see_them(tmp_path: Path) -> None:
    Image.fromarray(np.array([[1000, 3000]], dtype=np.uint16)).save(tmp_path / "deep.png")
    picture = read_picture(tmp_path / "deep.png")
    assert picture is not None
    # Twelve bits hold 3000: white is 4095.
    assert np.asarray(decode(picture.uri)).tolist() == [[62, 187]]


def test_an_outline_surrounds_the_mask(tmp_path: Path) -> None:
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[5:10, 10:18] = 255
    mask[0:3, 0:3] = 255
    Image.fromarray(mask).convert("1").save(tmp_path / "mask.png")
    outline = read_outline(tmp_path / "mask.png")
    assert outline is not None
    assert (outline.width, outline.height, outline.path.count("M")) == (30, 20, 2)
    numbers = [tuple(map(float, point.split())) for point in outline.path.split("Z")[1].strip("M").split("L")]
    xs, ys = zip(*numbers, strict=True)
    assert (min(xs), max(xs), min(ys), max(ys)) == (10, 18, 5, 10)


def test_an_empty_mask_has_no_outline(tmp_path: Path) -> None:
    Image.new("1", (8, 8)).save(tmp_path / "mask.png")
    assert read_outline(tmp_path / "mask.png") is None
    assert read_outline(tmp_path / "missing.png") is None


def test_numbers_are_worded() -> None:
    assert wording.percent(0.6412) == "64.1"
    assert [wording.points(value) for value in (0.0204, -0.2, 0.0004, None)] == ["+2.0", "−20.0", "0.0", "–"]
    assert [wording.p_value(value) for value in (0.0321, 0.0001, 1.0, None)] == [
        "0.032",
        "<0.001",
        "1.000",
        "–",
    ]
    assert [wording.duration(seconds) for seconds in (4.21, 200, 3900)] == [
        "4.2 s",
        "3 min 20 s",
        "1 h 5 min",
    ]
    assert wording.joined(["a", "b", "c"]) == "a, b and c"
    assert wording.slice_name("kind:side") == "kind “side”"
    assert [wording.in_sentence(name) for name in ("Token F1", "BLEU")] == ["token F1", "BLEU"]
