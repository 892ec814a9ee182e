"""Recipes that need a region of interest: where it comes from, and what is done without one."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medpref.errors import InputError
from medpref.pairs.images import open_mask
from medpref.pairs.pair import ImageRole, Pair
from medpref.pairs.recipes import RecipeContext, image_recipes
from medpref.pairs.recipes.images import NoiseSettings, random_box, roi_noise


def rejected(made: Pair) -> Path:
    (path,) = made.images[ImageRole.REJECTED]
    return path


def test_roi_noise_changes_the_mask_and_nothing_else() -> None:
    pixels = np.full((32, 32, 3), 120, np.uint8)
    mask = np.zeros((32, 32), bool)
    mask[4:20, 8:12] = True
    made = roi_noise(pixels, mask, NoiseSettings(), np.random.default_rng(0))
    assert (made[~mask] == 120).all()
    assert (made[mask] != 120).mean() > 0.95


@pytest.mark.parametrize("mask", [None, np.zeros((32, 40), bool)])
def test_roi_noise_without_a_region_changes_a_box_of_a_quarter(mask: np.ndarray | None) -> None:
    pixels = np.full((32, 40), 120, np.uint8)
    made = roi_noise(pixels, mask, NoiseSettings(), np.random.default_rng(0))
    rows, columns = (made != 120).nonzero()
    assert np.ptp(rows) == 7
    assert np.ptp(columns) == 9


def test_random_boxes_reach_every_corner() -> None:
    rng = np.random.default_rng(0)
    seen = sum(random_box(8, 8, rng) for _ in range(300))
    assert (seen > 0).all()


def test_roi_noise_reads_the_mask_file(make_image, make_pair, tmp_path: Path) -> None:
    path = make_image("a.png", 1)
    mask = np.zeros((32, 32), np.uint8)
    mask[:16] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    pair = make_pair("p", (path,), region=tmp_path / "mask.png")
    (made,) = image_recipes["roi-noise"].run([pair], {}, RecipeContext(3, tmp_path))
    before, after = np.asarray(Image.open(path)), np.asarray(Image.open(rejected(made)))
    assert (before[16:] == after[16:]).all()
    assert (before[:16] != after[:16]).any()


def test_each_region_of_one_image_has_its_own_noise(make_image, make_pair, tmp_path: Path) -> None:
    path = make_image("a.png", 1)
    pairs = []
    for name, rows in (("top", slice(0, 8)), ("bottom", slice(24, 32))):
        mask = np.zeros((32, 32), np.uint8)
        mask[rows] = 255
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
        pairs.append(make_pair(name, (path,), region=tmp_path / f"{name}.png"))
    _, bottom = image_recipes["roi-noise"].run(pairs, {}, RecipeContext(3, tmp_path))
    before, after = np.asarray(Image.open(path)), np.asarray(Image.open(rejected(bottom)))
    assert (before[24:] != after[24:]).any()


def test_a_mask_of_another_size_is_an_error_that_names_the_pair(
    make_image, make_pair, tmp_path: Path
) -> None:
    Image.new("1", (16, 16), 1).save(tmp_path / "mask.png")
    pair = make_pair("p", (make_image("a.png"),), region=tmp_path / "mask.png")
    with pytest.raises(InputError, match="pair p"):
        image_recipes["roi-noise"].run([pair], {}, RecipeContext(3, tmp_path))


def masked(make_image, make_pair, folder: Path, name: str, mask: np.ndarray) -> Pair:
    path = folder / f"{name}-mask.png"
    Image.fromarray(mask).save(path)
    return make_pair(name, (make_image(f"{name}.png", 1),), region=path)


@pytest.mark.parametrize("name", ["roi-noise", "outside-noise", "roi-blur", "roi-inpaint"])
def test_pairs_without_a_region_get_a_control_box_that_is_noted_or_are_left_out(
    name: str, make_image, make_pair, tmp_path: Path
) -> None:
    some = np.zeros((32, 32), bool)
    some[8:16, 8:16] = True
    pairs = [
        masked(make_image, make_pair, tmp_path, "some", some),
        masked(make_image, make_pair, tmp_path, "empty", np.zeros((32, 32), bool)),
        make_pair("none", (make_image("none.png", 2),)),
    ]
    recipe = image_recipes[name]
    made = recipe.run(pairs, {}, RecipeContext(3, tmp_path / "1"))
    noted = {pair.id: pair.provenance.recipe for pair in made}
    assert noted == {"some": name, "empty": f"{name} (control box)", "none": f"{name} (control box)"}
    # The note does not depend on whether the file was there already.
    again = recipe.run(pairs, {}, RecipeContext(3, tmp_path / "1"))
    assert {pair.id: pair.provenance.recipe for pair in again} == noted
    context = RecipeContext(3, tmp_path / "2")
    kept = recipe.run(pairs, {"empty": "leave-out"}, context)
    assert [pair.id for pair in kept] == ["some"]
    assert [left.id for left in context.left_out] == ["empty", "none"]


def test_a_region_grows_before_it_is_filled(make_image, make_pair, tmp_path: Path) -> None:
    some = np.zeros((32, 32), bool)
    some[12:16, 12:16] = True
    pair = masked(make_image, make_pair, tmp_path, "some", some)
    before = np.asarray(Image.open(pair.images[ImageRole.CLEAN][0]))
    changed = []
    for grow in (0, 4 / 32):
        (made,) = image_recipes["roi-inpaint"].run([pair], {"grow": grow}, RecipeContext(3, tmp_path / "out"))
        changed.append((np.asarray(Image.open(rejected(made))) != before).any(axis=-1))
    assert changed[0].sum() > 14
    assert not changed[0][~some].any()
    rows, columns = changed[1].nonzero()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 19, 8, 19)


def regions_of(pairs: list[Pair], settings: dict[str, object], folder: Path, **rest: object) -> dict:
    context = RecipeContext(3, folder, **rest)
    made = image_recipes["roi-noise"].run(pairs, {"region": settings, "empty": "leave-out"}, context)
    assert {pair.provenance.recipe for pair in made} <= {f"roi-noise (region: {settings['from']})"}
    return {pair.id: open_mask(pair.region) for pair in made if pair.region}


def test_regions_come_from_boxes(make_image, make_pair, tmp_path: Path) -> None:
    pairs = [make_pair(f"p{n}", (make_image(f"{n}.png", n),)) for n in range(3)]
    rows = [
        {"image": "0.png", "x": 4, "y": 8, "width": 10, "height": 2},
        {"image": "p1", "x": 0.5, "y": 0, "width": 0.5, "height": 1, "unit": "shares"},
        {"image": "0.png", "x": 0, "y": 0, "width": 1, "height": 1},
    ]
    (tmp_path / "boxes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = {"from": "boxes", "file": str(tmp_path / "boxes.jsonl")}
    found = regions_of(pairs, settings, tmp_path / "out")
    assert sorted(found) == ["p0", "p1"]
    assert found["p0"].sum() == 21
    assert found["p0"][8:10, 4:14].all()
    assert found["p1"][:, 16:].all()
    assert not found["p1"][:, :16].any()


@pytest.mark.parametrize(
    "row", [{"x": 0, "y": 0, "width": 1, "height": 1}, {"image": "0.png", "x": 0}, 3, {"image": 3}]
)
def test_a_line_that_is_no_box_is_named(row: object, pairs: list[Pair], tmp_path: Path) -> None:
    (tmp_path / "boxes.jsonl").write_text("\n" + json.dumps(row))
    settings = {"from": "boxes", "file": str(tmp_path / "boxes.jsonl")}
    with pytest.raises(InputError, match=r"boxes\.jsonl, line 2"):
        regions_of(pairs, settings, tmp_path / "out")


def test_a_box_outside_its_image_names_the_pair(make_image, make_pair, tmp_path: Path) -> None:
    row = {"image": "a.png", "x": 30, "y": 0, "width": 9, "height": 1}
    (tmp_path / "boxes.jsonl").write_text(json.dumps(row))
    settings = {"from": "boxes", "file": str(tmp_path / "boxes.jsonl")}
    with pytest.raises(InputError, match="pair p: the box reaches to 39 × 1"):
        regions_of([make_pair("p", (make_image("a.png"),))], settings, tmp_path / "out")


def test_regions_come_from_heat_maps(make_image, make_pair, tmp_path: Path) -> None:
    pairs = [make_pair(f"p{n}", (make_image(f"{n}.png", n),)) for n in range(4)]
    folder = tmp_path / "maps"
    folder.mkdir()
    heat = np.zeros((8, 8))
    heat[:2] = 1
    np.save(folder / "0.npy", heat)
    Image.fromarray((heat.T * 200).astype(np.uint8)).save(folder / "1.png")
    np.save(folder / "2.npy", np.ones((8, 8)))
    found = regions_of(pairs, {"from": "heat-map", "folder": str(folder), "quantile": 0.8}, tmp_path / "out")
    # Map 2 points nowhere, and image 3 has none.
    assert sorted(found) == ["p0", "p1"]
    assert found["p0"][:6].all()
    assert not found["p0"][10:].any()
    assert (found["p0"] == found["p1"].T).all()


class Onlooker:
    """A model that looks at one corner, and remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def look(self, pairs: list[Pair]) -> list[np.ndarray]:
        self.shown += [pair.id for pair in pairs]
        heat = np.zeros((8, 8))
        heat[:2, :2] = 1
        return [heat for _ in pairs]


def test_regions_come_from_the_model(pairs: list[Pair], make_image, make_pair, tmp_path: Path) -> None:
    two = make_pair("two", (make_image("a.png", 7), make_image("b.png", 8)))
    model = Onlooker()
    settings = {"from": "model", "quantile": 0.95}
    assert image_recipes["roi-noise"].asks_model({"region": settings})
    found = regions_of([*pairs, two], settings, tmp_path / "out", model=model)
    assert model.shown == [pair.id for pair in pairs]
    assert sorted(found) == sorted(pair.id for pair in pairs)
    assert all(mask[:6, :6].all() and not mask[12:, 12:].any() for mask in found.values())


def test_regions_from_the_model_need_one(pairs: list[Pair], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="asks a model"):
        regions_of(pairs, {"from": "model"}, tmp_path / "out")


@pytest.mark.parametrize(("source", "key"), [("boxes", "file"), ("heat-map", "folder")])
def test_a_source_without_its_file_is_an_error(
    source: str, key: str, pairs: list[Pair], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"regions from {source} need the key '{key}'"):
        regions_of(pairs, {"from": source}, tmp_path / "out")
