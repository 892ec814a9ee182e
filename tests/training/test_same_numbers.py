"""Settings that save memory or time and must not change what is learnt."""

from pathlib import Path
from typing import Any

import pytest

from medpref.errors import InputError

KEYS = ("loss", "logps/chosen", "rewards/margins", "grad_norm")


@pytest.mark.parametrize(
    "settings",
    [
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "lora": {"r": 2}},
        {"gradient_checkpointing": True, "freeze": ("tower", "projector")},
        {"head_chunk": 7},
        {"images_per_step": 1, "accumulate": 3},
    ],
)
@pytest.mark.parametrize("family", ["mistral", "qwen2"])
def test_the_numbers_are_the_same(
    make_backbone, make_trainer, tmp_path: Path, family: str, settings: dict[str, Any]
) -> None:
    kept = {key: value for key, value in settings.items() if key in ("lora", "freeze")}
    logs = []
    for folder, chosen in (("plain", kept), ("saving", settings)):
        trainer = make_trainer(
            make_backbone(family),
            "mdpo",
            folder=tmp_path / folder,
            **{"images_per_step": 3, "steps": 2, "learning_rate": 1e-4, **chosen},
        )
        trainer.train()
        logs.append([row for row in trainer.state.log_history if "loss" in row])
    for plain, saving in zip(*logs, strict=True):
        for key in KEYS:
            assert saving[key] == pytest.approx(plain[key], rel=1e-4, abs=1e-5), key


def test_gradient_checkpointing_computes_layers_again(make_backbone, make_trainer) -> None:
    """The layers really run twice: once forward, once more for the backward pass."""
    calls = []
    for on in (False, True):
        backbone = make_backbone("mistral")
        count = 0

        def step(*_: Any) -> None:
            nonlocal count
            count += 1

        backbone.model.model.language_model.layers[0].mlp.up_proj.register_forward_hook(step)
        make_trainer(backbone, "sft", steps=1, gradient_checkpointing=on).train()
        calls.append(count)
    assert calls == [1, 2]


def test_a_budget_that_no_image_fits_is_an_error(make_backbone, make_trainer) -> None:
    trainer = make_trainer(make_backbone("mistral"), "dpo", tokens_per_step=30)
    with pytest.raises(InputError, match="one image with its pairs takes"):
        trainer.train()


def test_a_budget_bounds_each_pass(make_backbone, make_trainer) -> None:
    trainer = make_trainer(make_backbone("mistral"), "dpo", tokens_per_step=130, steps=6)
    seen = []
    score = trainer.scorer.score_all

    def counting(*given: Any) -> Any:
        before = trainer.scorer.tokens
        found = score(*given)
        seen.append(trainer.scorer.tokens - before)
        return found

    trainer.scorer.score_all = counting
    trainer.train()
    assert len(seen) == 6
    assert 65 < max(seen) <= 130
