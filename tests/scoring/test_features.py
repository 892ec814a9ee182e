"""The feature cache against the tower itself: what hits, what misses, and that limits hold."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from medpref.backbones.base import ImageTensors
from medpref.errors import InputError, RunError
from medpref.scoring.features import FeatureCache
from medpref.scoring.inputs import InputCache, tensor_bytes

# 16 patches of width 32, float32.
ENTRY = 16 * 32 * 4


@pytest.fixture
def frozen(backbone):
    """A backbone whose tower is frozen, as the cache needs it."""
    backbone.freeze(["tower"])
    return backbone


@pytest.fixture
def paths(make_image) -> list[Path]:
    return [make_image(f"{number}.png", number) for number in range(5)]


def plain(backbone, paths: list[Path]) -> Tensor:
    with torch.no_grad():
        return joined(backbone.encode_images(InputCache(backbone).images(paths)))


def joined(features: list[ImageTensors]) -> Tensor:
    return torch.stack([image["patches"] for image in features]) if features else torch.empty(0, 1, 1)


def encode(cache: FeatureCache, *arguments) -> Tensor:
    return joined(cache.encode(*arguments))


def disk_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))


def test_features_are_the_tower_s_own_to_the_bit(frozen, paths: list[Path]) -> None:
    cache, inputs = FeatureCache(), InputCache(frozen)
    first = encode(cache, paths, frozen, inputs)
    assert torch.equal(first, plain(frozen, paths))
    assert torch.equal(encode(cache, paths, frozen, inputs), first)
    assert (cache.computed, cache.from_memory, cache.bytes) == (5, 5, 5 * ENTRY)
    assert not first.requires_grad


def test_only_the_missing_are_encoded_in_one_call_each_once(frozen, paths, monkeypatch) -> None:
    cache, inputs = FeatureCache(), InputCache(frozen)
    sizes: list[int] = []
    tower = frozen.encode_images
    monkeypatch.setattr(frozen, "encode_images", lambda images: (sizes.append(len(images)), tower(images))[1])
    encode(cache, [paths[0], paths[1], paths[0]], frozen, inputs)
    asked = [paths[2], paths[0], paths[2], paths[3]]
    found = encode(cache, asked, frozen, inputs)
    assert sizes == [2, 2]
    # Another batch's rounding: the tower sees other images beside the same one.
    torch.testing.assert_close(found, plain(frozen, asked), rtol=1e-6, atol=1e-6)
    assert torch.equal(found[0], found[2])


def test_equal_content_is_one_image_whatever_it_is_called(frozen, paths, make_image) -> None:
    cache = FeatureCache()
    encode(cache, [paths[0], make_image("copy.png", 0)], frozen, InputCache(frozen))
    assert cache.computed == 1


def test_no_images_are_no_rows(frozen) -> None:
    assert FeatureCache().encode([], frozen, InputCache(frozen)) == []


def test_a_changed_image_is_encoded_again(frozen, paths: list[Path], tmp_path: Path) -> None:
    cache, inputs = FeatureCache(folder=tmp_path / "features"), InputCache(frozen)
    old = encode(cache, paths, frozen, inputs)
    image = Image.open(paths[1]).convert("RGB")
    image.putpixel((3, 3), tuple(255 - value for value in image.getpixel((3, 3))))
    image.save(paths[1])
    new = encode(cache, paths, frozen, inputs)
    assert cache.computed == 6
    assert torch.equal(new[[0, 2, 3, 4]], old[[0, 2, 3, 4]])
    assert not torch.equal(new[1], old[1])
    torch.testing.assert_close(new, plain(frozen, paths), rtol=1e-6, atol=1e-6)


def test_changed_tower_weights_are_noticed(frozen, paths: list[Path], tmp_path: Path) -> None:
    cache, inputs = FeatureCache(folder=tmp_path / "features"), InputCache(frozen)
    old = encode(cache, paths, frozen, inputs)
    weight = frozen.model.model.vision_tower.embeddings.patch_embedding.weight
    with torch.no_grad():
        before = weight.view(-1)[0].item()
        weight.view(-1)[0] = 3.0
    assert torch.equal(encode(cache, paths, frozen, inputs), plain(frozen, paths))
    assert cache.computed == 10
    with torch.no_grad():
        weight.view(-1)[0] = before
    assert torch.equal(encode(cache, paths, frozen, inputs), old)
    assert cache.computed == 10


def test_weights_that_train_beside_the_tower_leave_the_features_alone(frozen, paths, monkeypatch) -> None:
    cache, inputs = FeatureCache(), InputCache(frozen)
    encode(cache, paths, frozen, inputs)
    with torch.no_grad():
        for weight in frozen.model.model.multi_modal_projector.parameters():
            weight.mul_(1.5)
    # The tower need not even be hashed again.
    monkeypatch.setattr(frozen, "fingerprint", None)
    encode(cache, paths, frozen, inputs)
    assert cache.computed == 5


def test_two_models_do_not_share_features(make_backbone, paths: list[Path]) -> None:
    cache = FeatureCache()
    for seed in range(2):
        backbone = make_backbone("mistral", seed)
        backbone.freeze(["tower"])
        assert torch.equal(encode(cache, paths, backbone, InputCache(backbone)), plain(backbone, paths))
    # The same tower below another language model has the same features.
    twin = make_backbone("mistral", 0)
    twin.freeze(["tower"])
    with torch.no_grad():
        twin.model.lm_head.weight.zero_()
    encode(cache, paths, twin, InputCache(twin))
    assert cache.computed == 10


def test_each_precision_has_its_own_features(frozen, paths: list[Path]) -> None:
    cache, inputs = FeatureCache(), InputCache(frozen)
    full = encode(cache, paths, frozen, inputs, "fp32")
    half = encode(cache, paths, frozen, inputs, "bf16")
    assert cache.computed == 10
    assert 0 < (full - half.float()).abs().max() < 0.5


def test_a_tower_in_training_is_refused(backbone, paths: list[Path]) -> None:
    cache = FeatureCache()
    assert not cache.usable(backbone)
    with pytest.raises(RunError, match="the vision tower is in training"):
        encode(cache, paths, backbone, InputCache(backbone))
    backbone.freeze(["tower"])
    assert cache.usable(backbone)
    next(backbone.model.model.vision_tower.parameters()).requires_grad_(True)
    assert not cache.usable(backbone)


def test_every_module_is_back_in_its_own_mode(frozen, paths: list[Path]) -> None:
    frozen.model.train()
    frozen.model.model.vision_tower.eval()
    modes = [module.training for module in frozen.model.modules()]
    encode(FeatureCache(), paths, frozen, InputCache(frozen))
    assert [module.training for module in frozen.model.modules()] == modes


def test_a_missing_image_is_named(frozen, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png: the image is missing"):
        encode(FeatureCache(), [tmp_path / "gone.png"], frozen, InputCache(frozen))


@settings(max_examples=15)
@given(
    batches=st.lists(st.lists(st.integers(0, 4), max_size=5), max_size=4),
    room=st.integers(0, 3),
    disk=st.sampled_from([None, 0, 2, 100]),
)
def test_limits_hold_and_the_features_are_right_under_any_of_them(
    make_backbone, tmp_path_factory: pytest.TempPathFactory, batches, room: int, disk: int | None
) -> None:
    folder = tmp_path_factory.mktemp("features")
    paths = []
    for number in range(5):
        paths.append(folder / f"{number}.png")
        Image.new("RGB", (32, 32), (50 * number, 10, 255 - 50 * number)).save(paths[-1])
    backbone = make_backbone("mistral")
    backbone.freeze(["tower"])
    one_file = ENTRY + 400
    limit = (disk or 0) * one_file
    cache = FeatureCache(room * ENTRY, folder / "kept" if disk is not None else None, max_disk_bytes=limit)
    expected, inputs = plain(backbone, paths), InputCache(backbone)
    for batch in batches:
        found = encode(cache, [paths[number] for number in batch], backbone, inputs)
        assert cache.bytes == sum(map(tensor_bytes, cache._kept.values())) <= room * ENTRY
        assert disk_bytes(folder) <= limit
        if batch:
            torch.testing.assert_close(found, expected[batch], rtol=1e-6, atol=1e-6)


def test_what_was_used_longest_ago_leaves_memory_first(frozen, paths: list[Path]) -> None:
    cache, inputs = FeatureCache(2 * ENTRY), InputCache(frozen)
    for number in (0, 1, 0, 2):
        encode(cache, [paths[number]], frozen, inputs)
    encode(cache, [paths[0]], frozen, inputs)
    assert (cache.computed, cache.from_memory) == (3, 2)
    encode(cache, [paths[1]], frozen, inputs)
    assert cache.computed == 4


def test_the_oldest_files_go_first(frozen, paths: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "features"
    inputs = InputCache(frozen)
    probe = FeatureCache(folder=tmp_path / "probe")
    encode(probe, paths[:1], frozen, inputs)
    limit = 3 * disk_bytes(tmp_path / "probe")
    cache = FeatureCache(0, folder, max_disk_bytes=limit)
    for path in paths:
        encode(cache, [path], frozen, inputs)
    assert disk_bytes(folder) == limit
    assert cache.files is not None
    assert cache.files.removed == 2
    names = {file.stem for file in folder.rglob("*.safetensors")}
    assert names == {inputs.image_hash(path) for path in paths[2:]}


def test_files_serve_the_next_run(frozen, paths: list[Path], tmp_path: Path) -> None:
    first = encode(FeatureCache(folder=tmp_path / "features"), paths, frozen, InputCache(frozen))
    cache = FeatureCache(folder=tmp_path / "features")
    assert torch.equal(encode(cache, paths, frozen, InputCache(frozen)), first)
    assert (cache.computed, cache.from_disk, dict(cache.damaged)) == (0, 5, {})
    encode(cache, paths, frozen, InputCache(frozen))
    assert (cache.from_disk, cache.from_memory) == (5, 5)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def turn_a_bit(data: bytes) -> bytes:
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


@pytest.mark.parametrize("harm", [cut, turn_a_bit, lambda _: b"", lambda _: b"not a file of ours at all"])
def test_a_damaged_file_is_named_computed_again_and_mended(frozen, paths, tmp_path: Path, harm) -> None:
    folder, inputs = tmp_path / "features", InputCache(frozen)
    first = encode(FeatureCache(folder=folder), paths, frozen, inputs)
    (bad,) = folder.rglob(f"{inputs.image_hash(paths[2])}.safetensors")
    bad.write_bytes(harm(bad.read_bytes()))
    cache = FeatureCache(folder=folder)
    found = encode(cache, paths, frozen, inputs)
    torch.testing.assert_close(found, first, rtol=1e-6, atol=1e-6)
    assert (cache.computed, cache.from_disk, list(cache.damaged)) == (1, 4, [bad])
    again = FeatureCache(folder=folder)
    encode(again, paths, frozen, inputs)
    assert (again.computed, dict(again.damaged)) == (0, {})


def test_a_file_under_another_s_name_is_not_trusted(frozen, paths: list[Path], tmp_path: Path) -> None:
    folder, inputs = tmp_path / "features", InputCache(frozen)
    first = encode(FeatureCache(folder=folder), paths, frozen, inputs)
    files = {path: next(folder.rglob(f"{inputs.image_hash(path)}.safetensors")) for path in paths}
    files[paths[1]].write_bytes(files[paths[0]].read_bytes())
    cache = FeatureCache(folder=folder)
    torch.testing.assert_close(encode(cache, paths, frozen, inputs), first, rtol=1e-6, atol=1e-6)
    assert list(cache.damaged) == [files[paths[1]]]


def test_a_file_that_another_process_removed_is_a_plain_miss(frozen, paths, tmp_path: Path) -> None:
    cache, inputs = FeatureCache(0, tmp_path / "features"), InputCache(frozen)
    first = encode(cache, paths, frozen, inputs)
    for file in (tmp_path / "features").rglob("*.safetensors"):
        file.unlink()
    assert torch.equal(encode(cache, paths, frozen, inputs), first)
    assert (cache.computed, dict(cache.damaged)) == (10, {})
