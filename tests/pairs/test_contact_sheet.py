from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medpref.errors import InputError
from medpref.pairs.images import save_png
from medpref.pairs.pair import ImageRole, Pair
from medpref.pairs.recipes import RecipeContext, image_recipes
from medpref.pairs.recipes.images import contact_sheet


def test_a_sheet_shows_four_tiles_of_each_pair(make_image, make_pair, tmp_path: Path) -> None:
    some = np.zeros((32, 32), bool)
    some[8:16, 8:16] = True
    save_png(tmp_path / "mask.png", Image.fromarray(some))
    pairs = [
        make_pair("a", (make_image("a.png", 1),), region=tmp_path / "mask.png"),
        make_pair("b", (make_image("b.png", 2),)),
    ]
    made = image_recipes["roi-noise"].run(pairs, {}, RecipeContext(3, tmp_path / "out"))
    contact_sheet(made, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    tile = sheet.shape[1] // 4
    yellow = (sheet == np.array((255, 196, 0))).all(axis=-1)
    # An outline in the last column of the first row only, and a difference inside it only.
    assert yellow[: sheet.shape[0] // 2, 3 * tile :].any()
    assert not yellow[:, : 3 * tile].any()
    assert not yellow[sheet.shape[0] // 2 + 20 :].any()
    difference = sheet[40:250, 2 * tile + 10 : 3 * tile - 10]
    assert 0.03 < (difference.sum(axis=-1) > 0).mean() < 0.12


def test_a_sheet_of_nothing_is_an_error(pairs: list[Pair], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pairs"):
        contact_sheet([], tmp_path / "sheet.png")
    bare = replace(pairs[0], images={ImageRole.CLEAN: pairs[0].images[ImageRole.CLEAN]})
    with pytest.raises(InputError, match=f"pair {bare.id}: the pair has no rejected image"):
        contact_sheet([bare], tmp_path / "sheet.png")
