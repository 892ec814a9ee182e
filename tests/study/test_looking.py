"""Where a model looks: the map of gradient × input, on images of any shape."""

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from medpref.errors import InputError
from medpref.pairs.images import open_mask
from medpref.pairs.pair import ImageRole, Pair
from medpref.pairs.recipes import RecipeContext, image_recipes
from medpref.scoring.inputs import InputCache
from medpref.study.answers import ModelAnswers

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone


def looker(backbone: "LlavaBackbone") -> ModelAnswers:
    return ModelAnswers(backbone, InputCache(backbone), batch=4)


def blindfold(backbone: "LlavaBackbone", rows: slice, columns: slice) -> None:
    """Let the model see nothing but a rectangle of the square that it is shown."""
    seen = torch.zeros(32, 32)
    seen[rows, columns] = 1
    tower = backbone.model.model.vision_tower
    tower.register_forward_pre_hook(lambda _, given: (given[0] * seen, *given[1:]))


def test_maps_are_finite_and_have_the_images_sizes(backbone: "LlavaBackbone", make_image, make_pair) -> None:
    shapes = [(32, 32), (24, 64), (50, 20)]
    pairs = [make_pair(f"p{n}", (make_image(f"{n}.png", n, size),)) for n, size in enumerate(shapes)]
    maps = looker(backbone).look(pairs)
    assert [heat.shape for heat in maps] == shapes
    assert all(np.isfinite(heat).all() and heat.min() >= 0 and heat.max() > 0 for heat in maps)


@pytest.mark.parametrize(
    ("size", "place"),
    [
        # Twice as wide as high, the image is shown in rows 8 to 24 of the square.
        ((32, 64), (slice(0, 16), slice(32, 64))),
        ((64, 32), (slice(32, 64), slice(0, 16))),
        ((32, 32), (slice(8, 16), slice(16, 32))),
    ],
)
def test_the_map_is_hot_where_the_model_depends_on_the_image(
    backbone: "LlavaBackbone", size: tuple[int, int], place: tuple[slice, slice], make_image, make_pair
) -> None:
    shown = {
        (32, 64): (slice(8, 16), slice(16, 32)),
        (64, 32): (slice(16, 32), slice(8, 16)),
        (32, 32): (slice(8, 16), slice(16, 32)),
    }[size]
    blindfold(backbone, *shown)
    (heat,) = looker(backbone).look([make_pair("p", (make_image("a.png", 1, size),))])
    planted = np.zeros(size, bool)
    planted[place] = True
    # Patches are joined bilinearly: half of what a patch has reaches its edge, and less what lies behind it.
    assert heat[~planted].max() <= heat.max() / 2
    assert heat[planted].mean() > 5 * heat[~planted].mean()


def test_a_map_does_not_depend_on_other_pairs_or_on_the_order(
    backbone: "LlavaBackbone", pairs: list[Pair]
) -> None:
    model = looker(backbone)
    together = dict(zip([pair.id for pair in pairs], model.look(pairs), strict=True))
    for pair, heat in zip(pairs[::-1], model.look(pairs[::-1]), strict=True):
        assert (heat == together[pair.id]).all()
        assert (model.look([pair])[0] == heat).all()


def test_looking_leaves_no_gradients_and_keeps_the_pixels(
    backbone: "LlavaBackbone", pairs: list[Pair]
) -> None:
    model = looker(backbone)
    (path,) = pairs[0].images[ImageRole.CLEAN]
    before = {name: tensor.clone() for name, tensor in model.inputs.image(path).items()}
    with torch.no_grad():
        model.look(pairs[:1])
    after = model.inputs.image(path)
    assert all(
        (after[name] == tensor).all() and not after[name].requires_grad for name, tensor in before.items()
    )
    assert all(weight.grad is None for weight in backbone.model.parameters())


def test_the_chosen_response_decides(backbone: "LlavaBackbone", pairs: list[Pair]) -> None:
    other = pairs[0].with_response(next(iter(pairs[0].responses)), "No, the lung is clear.")
    one, two = looker(backbone).look([pairs[0], other])
    assert (one != two).any()


@pytest.mark.parametrize("count", [0, 2])
def test_only_one_image_can_be_looked_at(
    backbone: "LlavaBackbone", count: int, make_image, make_pair
) -> None:
    pair = make_pair("p", tuple(make_image(f"{n}.png", n) for n in range(count)))
    with pytest.raises(InputError, match=f"{count} clean images"):
        looker(backbone).look([pair])


def test_a_model_that_sees_no_square_is_an_error(
    backbone: "LlavaBackbone", pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbone, "read_image", lambda image: {"patches": torch.zeros(4, 3)})
    with pytest.raises(InputError, match="LLaVA's kind"):
        looker(backbone).look(pairs[:1])


def test_noise_goes_where_the_model_looks(make_backbone, make_image, make_pair, tmp_path) -> None:
    backbone = make_backbone("mistral")
    blindfold(backbone, slice(16, 24), slice(0, 8))
    pair = make_pair("p", (make_image("a.png", 1),))
    context = RecipeContext(0, tmp_path / "out", model=looker(backbone))
    settings = {"region": {"from": "model", "quantile": 0.95}}
    (made,) = image_recipes["roi-noise"].run([pair], settings, context)
    assert made.provenance.recipe == "roi-noise (region: model)"
    assert made.region is not None
    rows, columns = open_mask(made.region).nonzero()
    assert rows.min() >= 14
    assert rows.max() < 26
    assert columns.max() < 10
