import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from pydantic import ValidationError

from medpref.errors import InputError, RunError
from medpref.objectives import objectives
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer
from medpref.training.parts import TrainingPart
from medpref.training.reference import ReferenceLogps, compute_reference
from medpref.training.settings import TrainingSettings
from medpref.training.trainer import PreferenceTrainer

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone

CHOSEN = {"logps/chosen", "nll_loss"}
REWARD = {"rewards/chosen"}
TEXT = {"rewards/rejected", "rewards/margins", "rewards/accuracies"}
IMAGE = {
    "rewards/chosen_rejected_image",
    "rewards/image_margins",
    "rewards/image_accuracies",
    "logps/chosen_rejected_image",
}
WEIGHTS = {"weights/min", "weights/mean", "weights/max"}
PAIRED = CHOSEN | REWARD | TEXT | {"logps/rejected"}
METRICS = {
    "sft": CHOSEN,
    **dict.fromkeys(("dpo", "irpo", "ipo", "cdpo", "robust", "hinge", "dpop", "apo_zero", "ld_dpo"), PAIRED),
    **dict.fromkeys(("simpo", "orpo"), CHOSEN | {"logps/rejected"}),
    "copo": CHOSEN | REWARD | IMAGE,
    **dict.fromkeys(("mdpo", "chip_visual"), PAIRED | IMAGE),
    "sft_both": CHOSEN | {"logps/rejected_rejected_image"},
    "minimal_pair": PAIRED | IMAGE | {"logps/rejected_rejected_image"},
    "mmedpo": CHOSEN | REWARD | TEXT | {"logps/rejected_rejected_image"} | WEIGHTS,
}


def test_every_objective_is_covered() -> None:
    assert set(METRICS) == set(objectives)


@pytest.mark.parametrize("name", list(METRICS))
def test_three_steps_of_every_objective(
    backbone: "LlavaBackbone", make_trainer, name: str, tmp_path: Path
) -> None:
    before = {n: p.clone() for n, p in backbone.model.named_parameters()}
    done: list[int] = []
    trainer = make_trainer(backbone, name, advance=done.append)
    trainer.train()
    assert sum(done) == 3
    changed = [n for n, p in backbone.model.named_parameters() if not torch.equal(p, before[n])]
    assert len(changed) > 0.9 * len(before)
    trainer.write_log(tmp_path / "training.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    for row in rows:
        assert set(row) == METRICS[name] | {"loss", "grad_norm", "learning_rate", "step"}
        # A hinge that every pair has passed is flat.
        assert row["grad_norm"] > 0 or (name == "hinge" and row["loss"] == 0)


def test_training_lowers_the_loss(make_backbone, make_trainer) -> None:
    trainer = make_trainer(make_backbone("qwen2"), "mdpo", steps=12, images_per_step=3)
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert losses[-1] < losses[0] - 0.1


def test_two_runs_are_equal(make_backbone, make_trainer, tmp_path: Path) -> None:
    models = []
    for name in ("1", "2"):
        backbone = make_backbone("mistral")
        make_trainer(backbone, "mdpo", folder=tmp_path / name).train()
        models.append(backbone.model.state_dict())
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


@pytest.mark.parametrize("part", ["tower", "projector", "language_model"])
def test_a_frozen_part_keeps_its_weights(make_backbone, make_trainer, part: str) -> None:
    backbone = make_backbone("mistral")
    prefix = {
        "tower": "vision_tower",
        "projector": "multi_modal_projector",
        "language_model": "model.language_model",
    }
    before = {n: p.clone() for n, p in backbone.model.named_parameters()}
    make_trainer(backbone, "dpo", freeze=(part,), weight_decay=0.1).train()
    for name, parameter in backbone.model.named_parameters():
        if prefix[part] in name:
            assert torch.equal(parameter, before[name]), name
    assert any(not torch.equal(p, before[n]) for n, p in backbone.model.named_parameters())


def test_the_towers_factor_scales_its_learning_rate(make_backbone, make_trainer) -> None:
    backbone = make_backbone("mistral")
    trainer = make_trainer(backbone, "sft", tower_factor=0.1)
    optimizer = trainer.create_optimizer()
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in backbone.model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(1e-4 if "vision_tower" in name else 1e-3), name


def test_bf16_computes_in_bf16(make_backbone, make_trainer) -> None:
    backbone = make_backbone("mistral")
    seen: set[torch.dtype] = set()
    projection = backbone.model.model.language_model.layers[0].mlp.up_proj
    projection.register_forward_hook(lambda module, given, out: seen.add(out.dtype))
    make_trainer(backbone, "sft", steps=1, precision="bf16").train()
    assert seen == {torch.bfloat16}
    assert {p.dtype for p in backbone.model.parameters()} == {torch.float32}


def test_a_loss_that_is_no_number_names_step_and_pair(make_backbone, make_trainer, pairs: list[Pair]) -> None:
    backbone = make_backbone("mistral")
    cells = objectives["dpo"].cells
    reference = compute_reference(Scorer(backbone), pairs, cells)
    row = reference.ids.index(pairs[3].id)
    reference.values[Cell.CLEAN_REJECTED][reference.lengths[Cell.CLEAN_REJECTED][:row].sum()] = float("nan")
    trainer = make_trainer(backbone, "dpo", reference=reference, images_per_step=3)
    with pytest.raises(RunError, match=r"loss of 1 pairs is not a finite number at step 1") as caught:
        trainer.train()
    assert caught.value.where == f"pairs {pairs[3].id}"


def test_weights_that_are_no_numbers_stop_the_run(make_backbone, make_trainer) -> None:
    backbone = make_backbone("mistral")
    trainer = make_trainer(backbone, "sft")
    with torch.no_grad():
        backbone.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(RunError, match="4 pairs is not a finite number at step 1"):
        trainer.train()


def test_a_reference_is_asked_for(make_backbone, pairs: list[Pair], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="objective dpo needs reference log-probs"):
        PreferenceTrainer(
            make_backbone("mistral"),
            [TrainingPart(pairs, objectives["dpo"])],
            TrainingSettings(),
            seed=0,
            folder=tmp_path,
        )


def test_no_pairs_are_an_error(make_backbone, make_trainer) -> None:
    with pytest.raises(InputError, match="there is no pair to train on"):
        make_trainer(make_backbone("mistral"), "sft", data=[])


def test_a_pair_without_the_objectives_part_is_named(make_backbone, make_trainer, make_pair) -> None:
    lacking = [make_pair("lacking", refused=None)]
    make_trainer(make_backbone("mistral"), "sft", data=lacking)
    with pytest.raises(InputError, match="pair lacking: no rejected response, which objective dpo needs"):
        make_trainer(make_backbone("mistral"), "dpo", data=lacking, reference=ReferenceLogps([], {}, {}))


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"learning_rate": 0}, {"warmup": 0.1}, {"precision": "fp16"}]
)
def test_wrong_settings_fail(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrainingSettings.model_validate(wrong)
