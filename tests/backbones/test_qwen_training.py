"""Training on the Qwen-VL families: a frozen tower, images of unlike sizes, tied embeddings."""

from pathlib import Path

import pytest
import torch
from tests.backbones.tiny_qwen import FAMILIES, build_tiny_qwen

from medpref.backbones.base import lies_in
from medpref.backbones.families import load_backbone
from medpref.backbones.qwen_vl import QwenVLBackbone
from medpref.objectives import objectives
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.features import FeatureCache
from medpref.scoring.scorer import Scorer
from medpref.training.parts import TrainingPart
from medpref.training.reference import compute_reference
from medpref.training.settings import TrainingSettings
from medpref.training.trainer import PreferenceTrainer

KINDS = list(FAMILIES)


@pytest.fixture
def unlike(make_image, make_pair) -> list[Pair]:
    """Four pairs on images of unlike sizes, and one without any."""
    sizes = [(32, 32), (20, 44), (40, 16), (8, 120)]
    clean = [make_image(f"clean-{n}.png", n, size) for n, size in enumerate(sizes)]
    rejected = [make_image(f"rejected-{n}.png", 10 + n, size) for n, size in enumerate(sizes[::-1])]
    pairs = [
        make_pair(f"p{n}", (one,), (other,))
        for n, (one, other) in enumerate(zip(clean, rejected, strict=True))
    ]
    return [*pairs, make_pair("text", question="Is pneumonia an infection?")]


def train(
    qwen: QwenVLBackbone, name: str, pairs: list[Pair], folder: Path, cache: FeatureCache | None, **settings
) -> list[float]:
    """Train for four steps, and return their losses."""
    objective = objectives[name]
    reference = compute_reference(Scorer(qwen, features=cache), pairs, objective.cells)
    usual = {"steps": 4, "images_per_step": 3, "log_every": 1, "learning_rate": 1e-3, **settings}
    trainer = PreferenceTrainer(
        qwen,
        [TrainingPart(pairs, objective, {}, reference)],
        TrainingSettings.model_validate(usual),
        seed=0,
        folder=folder,
        features=cache,
    )
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


@pytest.mark.parametrize("kind", KINDS)
def test_dpo_with_kept_features_is_dpo_without(kind: str, unlike, tmp_path: Path) -> None:
    losses, weights = [], []
    for number, cache in enumerate((FeatureCache(folder=tmp_path / "features"), None)):
        qwen = build_tiny_qwen(kind)
        before = {name: weight.clone() for name, weight in qwen.model.named_parameters()}
        losses.append(train(qwen, "dpo", unlike, tmp_path / str(number), cache, freeze=["tower"]))
        weights.append(dict(qwen.model.named_parameters()))
        for name, weight in weights[-1].items():
            assert torch.equal(weight, before[name]) == lies_in(name, qwen.parts["tower"]), name
        if cache:
            # DPO looks at the clean images alone.
            assert cache.computed == 4
            assert cache.from_memory > 0
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert losses[0][-1] < losses[0][0]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_kept_features_on_disk_serve_the_next_run(kind: str, unlike, tmp_path: Path) -> None:
    qwen = build_tiny_qwen(kind)
    qwen.freeze(["tower"])
    pairs = unlike[:4]
    first, second = (FeatureCache(folder=tmp_path / "features") for _ in range(2))
    with torch.no_grad():
        plain = Scorer(qwen).score(pairs, list(Cell))
        for cache in (first, second):
            kept = Scorer(qwen, features=cache).score(pairs, list(Cell))
            for cell in Cell:
                torch.testing.assert_close(kept[cell].tokens, plain[cell].tokens, atol=1e-5, rtol=0)
    assert (first.computed, first.from_disk) == (8, 0)
    assert (second.computed, second.from_disk) == (0, 8)
    assert not second.damaged


@pytest.mark.parametrize("kind", KINDS)
def test_tied_embeddings_train_with_checkpoints(kind: str, unlike, tmp_path: Path) -> None:
    qwen = build_tiny_qwen(kind, tied=True)
    before = qwen.model.lm_head.weight.detach().clone()
    settings = {"gradient_checkpointing": True, "checkpoint_every": 2}
    losses = train(qwen, "mdpo", unlike[:4], tmp_path / "run", None, **settings)
    assert losses[-1] < losses[0]
    assert qwen.model.lm_head.weight is qwen.model.get_input_embeddings().weight
    assert not torch.equal(qwen.model.lm_head.weight, before)
    qwen.save(tmp_path / "model")
    loaded = load_backbone(tmp_path / "model")
    assert loaded.fingerprint() == qwen.fingerprint()


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_in_all_parts_train(kind: str, unlike, tmp_path: Path) -> None:
    qwen = build_tiny_qwen(kind)
    before = {name: weight.clone() for name, weight in qwen.model.named_parameters()}
    lora = {"r": 2, "targets": ["tower", "projector", "language_model"]}
    train(qwen, "copo", unlike[:4], tmp_path / "run", None, lora=lora)
    tuned = {name: weight for name, weight in qwen.model.named_parameters() if "lora_B" in name}
    assert tuned
    assert all(weight.abs().max() > 0 for weight in tuned.values())
    for name, weight in qwen.model.named_parameters():
        if "lora_" not in name:
            assert torch.equal(weight, before[name.replace(".base_layer", "")])
