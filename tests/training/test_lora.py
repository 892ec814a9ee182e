import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import LlavaForConditionalGeneration

from medpref.backbones import load_backbone
from medpref.backbones.adapters import adapters_off, load_adapter, merge_lora, save_adapter
from medpref.backbones.llava import LlavaBackbone
from medpref.errors import InputError
from medpref.objectives import objectives
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer
from medpref.training.lora import add_lora
from medpref.training.settings import LoraSettings

CELLS = list(Cell)
LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def trained(backbone: LlavaBackbone) -> dict[str, torch.Tensor]:
    return {name: p for name, p in backbone.model.named_parameters() if p.requires_grad}


@torch.no_grad()
def stir(backbone: LlavaBackbone) -> None:
    """Make the adapters do something."""
    generator = torch.Generator().manual_seed(1)
    for parameter in trained(backbone).values():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)


@torch.no_grad()
def logps(backbone: LlavaBackbone, pairs: list[Pair]) -> torch.Tensor:
    return torch.cat([score.logps for score in Scorer(backbone).score(pairs, CELLS).values()])


def test_fresh_adapters_change_nothing_and_are_all_that_is_trained(
    backbone: LlavaBackbone, pairs: list[Pair]
) -> None:
    before = logps(backbone, pairs)
    add_lora(backbone, LoraSettings(r=4))
    torch.testing.assert_close(logps(backbone, pairs), before, rtol=1e-5, atol=1e-5)
    names = trained(backbone)
    assert all(".lora_A." in name or ".lora_B." in name for name in names)
    assert {name.split(".lora_")[0].split(".")[-1] for name in names} == LINEAR
    layers = backbone.model.config.text_config.num_hidden_layers
    assert len(names) == 2 * len(LINEAR) * layers
    assert all(".language_model." in name for name in names)


def test_adapters_depend_on_their_seed_and_leave_chance_alone(make_backbone) -> None:
    first = []
    for seed in (0, 0, 1):
        backbone = make_backbone("mistral")
        state = torch.random.get_rng_state()
        add_lora(backbone, LoraSettings(r=2), seed=seed)
        assert torch.equal(torch.random.get_rng_state(), state)
        first.append(next(iter(trained(backbone).values())).clone())
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (("q_proj", "v_proj"), {"q_proj", "v_proj"}),
        (("projector",), {"linear_1", "linear_2"}),
        (("tower",), {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"}),
    ],
)
def test_targets_are_parts_or_layers(make_backbone, targets: tuple[str, ...], expected: set[str]) -> None:
    backbone = make_backbone("mistral")
    add_lora(backbone, LoraSettings(r=2, targets=targets))
    assert {name.split(".lora_")[0].split(".")[-1] for name in trained(backbone)} == expected


def test_unknown_targets_are_an_error(make_backbone) -> None:
    with pytest.raises(InputError, match="no linear layer fits 'wq'"):
        add_lora(make_backbone("mistral"), LoraSettings(targets=("wq",)))


def test_the_scale_is_alpha_by_r_or_by_its_root(make_backbone) -> None:
    for rslora, scale in ((False, 32 / 16), (True, 32 / 4)):
        backbone = make_backbone("mistral")
        add_lora(backbone, LoraSettings(r=16, alpha=32, rslora=rslora, targets=("q_proj",)))
        layer = backbone.model.model.language_model.layers[0].self_attn.q_proj
        assert layer.scaling["default"] == pytest.approx(scale)


def test_adapters_off_is_the_model_as_it_was(backbone: LlavaBackbone, pairs: list[Pair]) -> None:
    before = logps(backbone, pairs)
    add_lora(backbone, LoraSettings(r=4))
    stir(backbone)
    on, names = logps(backbone, pairs), set(trained(backbone))
    assert (on - before).abs().max() > 0.1
    with adapters_off(backbone):
        assert torch.equal(logps(backbone, pairs), before)
    assert torch.equal(logps(backbone, pairs), on)
    assert set(trained(backbone)) == names


def test_merging_leaves_a_plain_model_that_says_the_same(
    backbone: LlavaBackbone, pairs: list[Pair], tmp_path: Path
) -> None:
    names = set(backbone.model.state_dict())
    add_lora(backbone, LoraSettings(r=4))
    stir(backbone)
    on = logps(backbone, pairs)
    merge_lora(backbone)
    assert set(backbone.model.state_dict()) == names
    backbone.save(tmp_path / "model")
    again = load_backbone(tmp_path / "model")
    torch.testing.assert_close(logps(again, pairs), on, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="no adapters"):
        merge_lora(backbone)


def test_saved_adapters_are_read_bit_for_bit(make_backbone, pairs: list[Pair], tmp_path: Path) -> None:
    backbone, other = make_backbone("mistral"), make_backbone("mistral")
    add_lora(backbone, LoraSettings(r=4))
    stir(backbone)
    save_adapter(backbone, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"adapter_model.safetensors", "adapter_config.json"}
    add_lora(other, LoraSettings(r=4), seed=5)
    load_adapter(other, tmp_path)
    theirs = trained(other)
    assert all(torch.equal(value, theirs[name]) for name, value in trained(backbone).items())


def test_peft_reads_what_is_saved(make_backbone, pairs: list[Pair], tmp_path: Path) -> None:
    backbone = make_backbone("mistral")
    backbone.save(tmp_path / "model")
    add_lora(backbone, LoraSettings(r=4))
    stir(backbone)
    save_adapter(backbone, tmp_path / "adapter")
    plain = LlavaForConditionalGeneration.from_pretrained(tmp_path / "model", attn_implementation="sdpa")
    theirs = PeftModel.from_pretrained(plain, tmp_path / "adapter").merge_and_unload()
    merge_lora(backbone)
    own = backbone.model.state_dict()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(own[name], value, rtol=1e-6, atol=1e-6)


def test_an_adapter_of_another_rank_is_an_error(make_backbone, tmp_path: Path) -> None:
    backbone, other = make_backbone("mistral"), make_backbone("mistral")
    add_lora(backbone, LoraSettings(r=4))
    save_adapter(backbone, tmp_path)
    add_lora(other, LoraSettings(r=2))
    with pytest.raises(InputError, match="28 tensors are missing, left over or of the wrong shape"):
        load_adapter(other, tmp_path)
    with pytest.raises(InputError, match="adapter cannot be read"):
        load_adapter(other, tmp_path / "nowhere")


def test_training_changes_adapters_only(make_backbone, make_trainer, tmp_path: Path) -> None:
    backbone = make_backbone("mistral")
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    trainer = make_trainer(backbone, "dpo", lora={"r": 2}, freeze=("tower",), weight_decay=0.1)
    trainer.train()
    after = backbone.model.state_dict()
    for name, value in before.items():
        found = after.get(name, after.get(name.replace(".weight", ".base_layer.weight")))
        assert torch.equal(found, value), name
    assert all(bool(weight.any()) for name, weight in after.items() if ".lora_B." in name)
    folder = tmp_path / "checkpoints" / "checkpoint-3"
    assert not (folder / "model.safetensors").exists()
    assert all(".lora_" in name for name in load_file(folder / "adapter_model.safetensors"))


def test_freezing_what_has_the_adapters_leaves_nothing_to_train(make_backbone, make_trainer) -> None:
    with pytest.raises(InputError, match="all weights are frozen"):
        make_trainer(make_backbone("mistral"), "sft", lora={"r": 2}, freeze=("language_model",))


def test_both_the_merged_model_and_the_adapter_are_saved(
    make_backbone, make_trainer, pairs: list[Pair], tmp_path: Path
) -> None:
    backbone = make_backbone("mistral")
    trainer = make_trainer(backbone, "sft", lora={"r": 2})
    trainer.train()
    backbone.model.eval()
    on = logps(backbone, pairs)
    trainer.save(tmp_path / "model")
    assert json.loads((tmp_path / "model" / "adapter" / "adapter_config.json").read_text())["r"] == 2
    merged = load_backbone(tmp_path / "model")
    torch.testing.assert_close(logps(merged, pairs), on, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["dpo", "mdpo", "sft", "ld_dpo"])
def test_a_reference_with_adapters_off_is_the_cached_one(
    make_backbone, make_trainer, tmp_path: Path, name: str
) -> None:
    logs = []
    for reference in ("cached", "adapters-off"):
        backbone = make_backbone("mistral")
        trainer = make_trainer(
            backbone, name, lora={"r": 2}, folder=tmp_path / reference, reference_from=reference
        )
        trainer.train()
        logs.append([row for row in trainer.state.log_history if "loss" in row])
    assert objectives[name].needs_reference == ("rewards/chosen" in logs[0][0])
    for cached, live in zip(*logs, strict=True):
        assert set(cached) == set(live)
        for key, value in cached.items():
            assert live[key] == pytest.approx(value, rel=1e-4, abs=1e-4), key
