import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medpref.errors import InputError
from medpref.pairs.images import open_image
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.scoring.cells import Cell, missing_part
from medpref.scoring.inputs import InputCache, image_indices, number_images
from medpref.scoring.scorer import Scorer

PARTS = [
    (Cell.CLEAN_REJECTED, {"refused": None}, "no rejected response"),
    (Cell.REJECTED_REJECTED, {"refused": None}, "no rejected response"),
    (Cell.REJECTED_CHOSEN, {}, "no rejected image"),
]


@pytest.mark.parametrize(("cell", "changes", "reason"), PARTS)
def test_a_missing_part_is_named_with_the_pair(
    make_backbone, make_pair, make_image, cell: Cell, changes: dict[str, None], reason: str
) -> None:
    pair = make_pair("lacking", (make_image("a.png"),), **changes)
    assert missing_part(pair, cell) == reason
    with pytest.raises(InputError, match=f"pair lacking: {reason}, which {cell.key} needs"):
        Scorer(make_backbone("mistral")).score([pair], [cell])


def test_a_whole_pair_lacks_nothing(pairs: list[Pair]) -> None:
    assert [missing_part(pairs[0], cell) for cell in Cell] == [None] * 4


def test_a_text_only_pair_has_no_rejected_image(make_pair) -> None:
    assert missing_part(make_pair("text"), Cell.REJECTED_CHOSEN) == "no rejected image"


@pytest.mark.parametrize("family", ["mistral", "qwen2"])
def test_too_long_is_an_error_that_names_the_pair(make_backbone, make_pair, family: str) -> None:
    backbone = make_backbone(family)
    fits = make_pair("fits")
    ids = len(backbone.prompt_ids(fits.prompt)) + len(backbone.response_ids("Yes, in the upper lobe."))
    backbone.max_length = ids
    Scorer(backbone).score([fits], [Cell.CLEAN_CHOSEN])
    backbone.max_length = ids - 1
    with pytest.raises(InputError, match=r"pair fits: .* are more than the") as caught:
        Scorer(backbone).score([fits], [Cell.CLEAN_CHOSEN])
    assert str(ids - 1) in caught.value.what


def test_a_long_response_is_never_cut(make_backbone, make_pair, make_image) -> None:
    backbone = make_backbone("mistral")
    pair = make_pair("long", (make_image("a.png"),), chosen="lung " * 200)
    with pytest.raises(InputError, match="pair long"):
        Scorer(backbone).score([pair], [Cell.CLEAN_CHOSEN])
    backbone.max_length = 2000
    count = Scorer(backbone).score([pair], [Cell.CLEAN_CHOSEN])[Cell.CLEAN_CHOSEN].lengths
    assert count.item() == len(backbone.response_ids(pair.responses[ResponseRole.CHOSEN]))


def test_an_image_without_a_placeholder_is_not_dropped(make_backbone, make_pair, make_image) -> None:
    pair = Pair("bare", "Where?", {ImageRole.CLEAN: (make_image("a.png"),)}, {ResponseRole.CHOSEN: "Left"})
    with pytest.raises((InputError, ValueError), match="image"):
        Scorer(make_backbone("mistral")).score([pair], [Cell.CLEAN_CHOSEN])


def test_images_of_one_pair_do_not_move_to_the_placeholder_of_another(make_backbone, make_image) -> None:
    images = {ImageRole.CLEAN: (make_image("a.png"),)}
    answer = {ResponseRole.CHOSEN: "Left"}
    batch = [Pair("bare", "Where?", images, answer), Pair("spare", "<image>\nWhere?", {}, answer)]
    with pytest.raises(InputError, match="pair bare"):
        Scorer(make_backbone("mistral")).score(batch, [Cell.CLEAN_CHOSEN])


def test_a_missing_image_file_is_named(make_backbone, make_pair, tmp_path: Path) -> None:
    pair = make_pair("gone", (tmp_path / "gone.png",))
    with pytest.raises(InputError, match=r"gone\.png: the image is missing"):
        Scorer(make_backbone("mistral")).score([pair], [Cell.CLEAN_CHOSEN])


def test_a_broken_image_file_is_named(make_image) -> None:
    path = make_image("cut.png")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"cut\.png: the image cannot be read"):
        open_image(path)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA"])
def test_every_mode_opens_as_grey_or_rgb(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (8, 8), (200, 200, 200)).convert(mode).save(tmp_path / "image.png")
    assert open_image(tmp_path / "image.png").mode == ("L" if mode in ("L", "1") else "RGB")


def test_a_16_bit_radiograph_keeps_its_contrast(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    pixels = np.asarray(open_image(tmp_path / "ramp.png")).astype(float)
    assert pixels.mean() == pytest.approx(127.5, abs=2)


def test_pixels_are_kept_within_the_limit(make_backbone, make_image) -> None:
    paths = [make_image(f"{n}.png", n) for n in range(3)]
    one = 3 * 32 * 32 * 4
    cache = InputCache(make_backbone("mistral"), max_bytes=2 * one)
    first = [cache.image(path) for path in paths]
    assert cache.image(paths[2]) is first[2]
    assert cache.image(paths[1]) is first[1]
    again = cache.image(paths[0])
    assert again is not first[0]
    assert torch.equal(again["pixel_values"], first[0]["pixel_values"])
    assert cache.image(paths[1]) is first[1]
    assert cache.image(paths[2]) is not first[2]


def test_a_file_that_changed_is_read_again(make_backbone, make_image) -> None:
    cache = InputCache(make_backbone("mistral"))
    path = make_image("a.png", 0)
    pixels, digest = cache.image(path), cache.image_hash(path)
    assert cache.image(path) is pixels
    make_image("a.png", 1)
    assert not torch.equal(cache.image(path)["pixel_values"], pixels["pixel_values"])
    assert cache.image_hash(path) != digest


def test_a_file_is_hashed_once(make_backbone, make_image, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = InputCache(make_backbone("mistral"))
    path, copy = make_image("a.png"), make_image("copy.png")
    digest = cache.image_hash(path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest() == cache.image_hash(copy)
    monkeypatch.setattr("medpref.scoring.inputs.file_hash", None)
    assert cache.image_hash(path) == digest


def test_a_missing_file_has_no_hash(make_backbone, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png: the image is missing"):
        InputCache(make_backbone("mistral")).image_hash(tmp_path / "gone.png")


def test_a_batch_larger_than_the_limit_is_still_whole(make_backbone, pairs: list[Pair]) -> None:
    backbone = make_backbone("mistral")
    small = Scorer(backbone, InputCache(backbone, max_bytes=1)).score(pairs, list(Cell))
    large = Scorer(backbone).score(pairs, list(Cell))
    for cell in Cell:
        assert torch.equal(small[cell].logps, large[cell].logps)


def test_equal_files_at_one_path_are_one_image(make_backbone, pairs: list[Pair]) -> None:
    numbers = number_images(
        (pair, cell) for cell in (Cell.CLEAN_CHOSEN, Cell.REJECTED_CHOSEN) for pair in pairs
    )
    images = InputCache(make_backbone("mistral")).images(numbers)
    assert len(images) == len(numbers) == 6
    first, second = (image_indices(numbers, pair, ImageRole.CLEAN) for pair in pairs[:2])
    assert first == second
