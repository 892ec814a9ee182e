"""What gives a small tower its start: position codes, whitened patches, lesion maps and the warm-up."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from medpref.backbones.tiny import sincos_2d, whiten_patches
from medpref.starts import warmup
from medpref.starts.warmup import WarmupSettings, patch_maps, warm_up

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone


def test_patch_maps_by_hand() -> None:
    # One 4 × 4 image, two patches a side, each with 2 × 2 cells of one pixel.
    mask = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]).float()
    maps = patch_maps(mask[None], cell=1, cells=2)
    assert maps.tolist() == [[[1, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]]


def test_patch_maps_are_shares() -> None:
    # One patch of 4 × 4 pixels with 2 × 2 cells: the upper left cell has 3 of 4 pixels.
    mask = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]]).float()
    assert patch_maps(mask[None], cell=2, cells=2).tolist() == [[[0.75, 0, 0, 0.5]]]


def test_patches_of_a_map_stand_in_the_towers_order() -> None:
    mask = torch.zeros(1, 6, 9)
    mask[0, 4, 7] = 1  # second row, third column of 3 × 3 patches
    maps = patch_maps(mask, cell=3, cells=1)
    assert maps.shape == (1, 6, 1)
    assert maps[0, :, 0].nonzero().tolist() == [[5]]


def test_position_codes_tell_row_and_column() -> None:
    codes = sincos_2d(4, 16)
    assert codes.shape == (16, 16)
    assert codes.abs().max() <= 1
    assert len({tuple(code) for code in codes.tolist()}) == 16
    grid = codes.reshape(4, 4, 16)
    assert torch.equal(grid[2, 0, :8], grid[2, 3, :8])
    assert torch.equal(grid[0, 1, 8:], grid[3, 1, 8:])
    # The place 0 is sin 0 = 0 and cos 0 = 1; at rate 1, the place 1 is sin 1.
    assert grid[0, 0].tolist() == [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4
    assert grid[1, 0, 0].item() == pytest.approx(0.841471, abs=1e-5)


def test_whitened_patches_have_equal_variances_and_no_correlation(make_backbone) -> None:
    backbone = make_backbone("mistral")
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(200, 3, 8, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=32, mode="bilinear")
    whiten_patches(backbone, smooth)
    out = backbone.model.model.vision_tower.embeddings.patch_embedding(smooth)
    values = out.transpose(0, 1).flatten(1).double() / 0.25
    covariance = torch.cov(values)
    torch.testing.assert_close(covariance, torch.eye(32).double(), rtol=0, atol=0.01)


def test_channels_beyond_the_patches_rank_are_zero(make_backbone) -> None:
    backbone = make_backbone("mistral")
    shades = torch.randn(50, 3, 1, 1).expand(50, 3, 32, 32).contiguous()
    whiten_patches(backbone, shades)
    weight = backbone.model.model.vision_tower.embeddings.patch_embedding.weight
    assert weight.isfinite().all()
    assert (weight.flatten(1).norm(dim=1) > 0).sum() == 3


def run_warm_up(backbone: "LlavaBackbone", folder: Path, steps: int, advance=lambda _: None) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(12, 3, 32, 32, generator=generator)
    labels = {"side": torch.arange(12) % 2, "count": torch.arange(12) % 3}
    settings = WarmupSettings(steps=steps, batch=4)
    masks = (pixels.mean(1) > 0.5).float()
    warm_up(backbone, pixels, labels, masks, settings, seed=0, folder=folder, advance=advance)


def test_a_warm_up_trains_the_tower_and_nothing_else(make_backbone, tmp_path: Path) -> None:
    backbone, done = make_backbone("mistral"), []
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    run_warm_up(backbone, tmp_path, 3, done.append)
    changed = {n for n, value in backbone.model.state_dict().items() if not torch.equal(value, before[n])}
    assert changed
    assert all("vision_tower" in name for name in changed)
    assert sum(done) == 3


def test_a_warm_up_repeats(make_backbone, tmp_path: Path) -> None:
    models = []
    for name in ("1", "2"):
        backbone = make_backbone("mistral")
        run_warm_up(backbone, tmp_path / name, 3)
        models.append(backbone.model.state_dict())
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_a_killed_warm_up_goes_on_bit_for_bit(
    make_backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = warmup.training_arguments

    def often(settings, seed, folder):
        return whole(settings.model_copy(update={"checkpoint_every": 2}), seed, folder)

    monkeypatch.setattr(warmup, "training_arguments", often)
    done: list[int] = []

    def kill(amount: int) -> None:
        done.append(amount)
        if sum(done) == 3:
            raise InterruptedError

    straight, killed, resumed = (make_backbone("mistral") for _ in range(3))
    run_warm_up(straight, tmp_path / "1", 4)
    with pytest.raises(InterruptedError):
        run_warm_up(killed, tmp_path / "2", 4, kill)
    run_warm_up(resumed, tmp_path / "2", 4)
    expected = straight.model.state_dict()
    assert all(torch.equal(value, expected[n]) for n, value in resumed.model.state_dict().items())
