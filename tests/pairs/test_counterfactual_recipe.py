"""The image that the rejected response is right for, found by its name."""

from pathlib import Path

import pytest
from PIL import Image
from pydantic import ValidationError

from medpref.errors import InputError
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.recipes import RecipeContext, image_recipes
from medpref.pairs.recipes.images.counterfactual import CounterfactualSettings
from medpref.pairs.sources import sources

RECIPE = image_recipes["counterfactual"]


def test_the_file_is_named_by_image_kind_and_rejected_answer(make_pair, make_image, tmp_path: Path) -> None:
    image, changed = make_image("scan.png", 1), make_image("scan-side-lower-left.png", 2)
    pair = make_pair("a", (image,), refused="Lower left.", kind="side")
    other = make_pair("b", (image,), refused="upper", kind="side")
    context = RecipeContext(0, tmp_path)
    (made,) = RECIPE.run([pair, other], {}, context)
    assert made.images == {ImageRole.CLEAN: (image,), ImageRole.REJECTED: (changed,)}
    assert made.responses == pair.responses
    assert (made.provenance.recipe or "").endswith("counterfactual")
    assert [(left.id, left.reason) for left in context.left_out] == [
        ("b", "no image is there that the rejected response is right for")
    ]


def test_a_pattern_and_a_folder_of_ones_own(make_pair, make_image, tmp_path: Path) -> None:
    image = make_image("scan.png", 1)
    (tmp_path / "edited").mkdir()
    changed = make_image("edited/scan.no.png", 2)
    pair = make_pair("a", (image,), refused="No", kind="presence")
    settings = {"file": "{stem}.{answer}{suffix}", "folder": str(changed.parent)}
    (made,) = RECIPE.run([pair], settings, RecipeContext(0, tmp_path))
    assert made.images[ImageRole.REJECTED] == (changed,)


@pytest.mark.parametrize("file", ["{stem}.png", "{answer}", "{stem}{answer}{other}", "{stem"])
def test_a_pattern_that_does_not_tell_images_apart_is_refused(file: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        CounterfactualSettings(file=file)


def test_an_answer_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    path = CounterfactualSettings().path(tmp_path / "scan.png", "../../kind", "../../etc/passwd")
    assert path.parent == tmp_path


def test_without_any_such_image_it_says_where_it_looked(make_pair, make_image, tmp_path: Path) -> None:
    pair = make_pair("a", (make_image("scan.png", 1),), refused="right", kind="side")
    with pytest.raises(InputError, match=r"scan-side-right\.png.*counterfactuals"):
        RECIPE.run([pair], {}, RecipeContext(0, tmp_path))


def test_without_a_rejected_response_no_fact_is_named(make_pair, make_image, tmp_path: Path) -> None:
    pair = make_pair("a", (make_image("scan.png", 1),), refused=None, kind="side")
    with pytest.raises(InputError, match="rejected_response"):
        RECIPE.run([pair], {}, RecipeContext(0, tmp_path))


def test_an_image_of_another_size_is_refused(make_pair, make_image, tmp_path: Path) -> None:
    image, changed = make_image("scan.png", 1), make_image("scan-side-right.png", 2)
    Image.new("L", (5, 7)).save(changed)
    pair = make_pair("a", (image,), refused="right", kind="side")
    with pytest.raises(InputError, match="its twin 5 × 7"):
        RECIPE.run([pair], {}, RecipeContext(0, tmp_path))


def test_phantoms_have_them_where_asked(tmp_path: Path) -> None:
    source = sources["phantoms"]
    few = {"train": 1, "pool": 12, "validation": 1, "test": 1, "size": 32}
    settings = source.settings.model_validate({**few, "counterfactuals": True})
    pool = source.load(settings, tmp_path, True, lambda _: None).pool
    asked: list[Pair] = []
    for pair in pool:
        if pair.kind == "presence":
            wrong = "no" if pair.responses[ResponseRole.CHOSEN] == "yes" else "yes"
            asked.append(pair.with_response(ResponseRole.REJECTED, wrong))
    context = RecipeContext(0, tmp_path)
    made = RECIPE.run(asked, {}, context)
    assert len(asked) == 12
    # At 32 pixels a patient may have no room for a lesion.
    assert len(made) + len(context.left_out) == 12
    assert len(made) >= 10
    assert not list((tmp_path / "images" / "train").glob("*-presence-*"))


def test_another_training_seed_keeps_the_test(tmp_path: Path) -> None:
    source = sources["phantoms"]
    assert source.redraw is not None
    settings = source.settings.model_validate({"train": 2, "pool": 2, "validation": 2, "test": 2, "size": 32})
    sets = [
        source.load(source.redraw(settings, seed), tmp_path / str(seed), True, lambda _: None)
        for seed in (0, 1)
    ]
    read = [{p.name: p.read_bytes() for p in (tmp_path / str(s)).rglob("*.png")} for s in (0, 1)]
    assert sets[0].samples["test", "phantom-vqa"][0].gold == sets[1].samples["test", "phantom-vqa"][0].gold
    assert read[0]["test-00001.png"] == read[1]["test-00001.png"]
    for split in ("train", "pool", "validation"):
        assert read[0][f"{split}-00001.png"] != read[1][f"{split}-00001.png"]
    unchanged = source.load(settings, tmp_path / "plain", True, lambda _: None)
    assert [pair.id for pair in unchanged.pool] == [pair.id for pair in sets[0].pool]
    assert read[0]["train-00000.png"] == (tmp_path / "plain/images/train/train-00000.png").read_bytes()
