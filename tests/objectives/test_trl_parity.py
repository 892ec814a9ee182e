"""Loss and parameter gradients against TRL's `DPOTrainer`, on one tiny random LLaVA for each text family.

Compared is the whole way from ids and pixels to the loss: TRL's collator, forward pass, reference pass and
loss against our shared rows and reference: "sigmoid" (our dpo), "sigmoid" + "sft" (irpo), "sigmoid" with
``ld_alpha`` (ld_dpo), "ipo", "hinge", "robust" and "apo_zero". TRL's "aot" on one pair is our cdpo. SimPO and
ORPO have trainers of their own in TRL and are compared on the same log-probs. Two things are made equal
first. TRL's tokenisation is left out: both get our ids, since a template is not what is compared. TRL lets
the image token take probability, so here ours does too.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from medpref.objectives import Scores, objectives
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer
from medpref.training.reference import compute_reference

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
CELLS = [Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED]


@pytest.fixture(params=["mistral", "qwen2"])
def models(
    request: pytest.FixtureRequest, make_backbone: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple["LlavaBackbone", "LlavaBackbone"]:
    """A policy and a reference with other weights, so that no difference is zero."""
    both = make_backbone(request.param, 0), make_backbone(request.param, 1)
    for backbone in both:
        monkeypatch.setattr(backbone, "logits", lambda hidden, b=backbone: b.model.lm_head(hidden).float())
    return both


def trl_loss(
    policy: "LlavaBackbone", reference: "LlavaBackbone", pairs: list[Pair], folder: Path, **settings: Any
) -> torch.Tensor:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    trainer = DPOTrainer(
        model=policy.model,
        ref_model=reference.model,
        args=DPOConfig(
            output_dir=str(folder),
            use_cpu=True,
            report_to=[],
            max_length=None,
            bf16=False,
            beta=0.1,
            disable_tqdm=True,
            **settings,
        ),
        train_dataset=Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
        processing_class=policy.tokenizer,
    )
    rows = [
        {
            "prompt_ids": policy.prompt_ids(pair.prompt),
            "chosen_ids": policy.response_ids(pair.responses[ResponseRole.CHOSEN]),
            "rejected_ids": policy.response_ids(pair.responses[ResponseRole.REJECTED]),
        }
        for pair in pairs
    ]
    batch = dict(trainer.data_collator(rows))
    inputs = Scorer(policy).inputs
    shown = [path for pair in pairs for path in pair.images[ImageRole.CLEAN]]
    pixels = torch.stack([image["pixel_values"] for image in inputs.images(shown)])
    batch["pixel_values"] = torch.cat([pixels, pixels])
    return trainer.compute_loss(trainer.model, batch)


def our_losses(
    name: str, policy: "LlavaBackbone", reference: "LlavaBackbone", pairs: list[Pair], **settings: float
) -> torch.Tensor:
    before = compute_reference(Scorer(reference), pairs, CELLS).look_up(pairs, CELLS)
    scored = Scorer(policy).score(pairs, CELLS)
    scores = Scores(
        {cell: score.logps for cell, score in scored.items()},
        {cell: tokens.sum(1) for cell, tokens in before.items()},
        {cell: score.lengths for cell, score in scored.items()},
        None,
        {cell: score.tokens for cell, score in scored.items()},
        before,
    )
    return objectives[name].loss(scores, **settings)


def gradients(backbone: "LlavaBackbone", loss: torch.Tensor) -> torch.Tensor:
    backbone.model.zero_grad()
    loss.backward()
    found = [p.grad.flatten() for p in backbone.model.parameters() if p.grad is not None]
    return torch.cat(found).clone()


def test_dpo_is_trls_sigmoid_loss(
    models: tuple["LlavaBackbone", "LlavaBackbone"], pairs: list[Pair], tmp_path: Path
) -> None:
    policy, _ = models
    theirs = trl_loss(*models, pairs, tmp_path, loss_type=["sigmoid"])
    ours = our_losses("dpo", *models, pairs).mean()
    assert abs(ours.item() - 0.6931) > 0.01
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    ours, theirs = gradients(policy, ours), gradients(policy, theirs)
    assert (ours - theirs).norm() < 1e-5 * theirs.norm()


SMOOTH = {"label_smoothing": 0.1}


@pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    [
        ("ipo", "ipo", {}),
        ("hinge", "hinge", {}),
        ("robust", "robust", SMOOTH),
        ("apo_zero", "apo_zero", {}),
        ("ld_dpo", "sigmoid", {"ld_alpha": 0.3}),
    ],
)
def test_variants_are_trls(
    models: tuple["LlavaBackbone", "LlavaBackbone"],
    pairs: list[Pair],
    tmp_path: Path,
    ours: str,
    theirs: str,
    settings: dict[str, float],
) -> None:
    policy, _ = models
    expected = trl_loss(*models, pairs, tmp_path, loss_type=[theirs], **settings)
    found = our_losses(ours, *models, pairs, **settings).mean()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    found, expected = gradients(policy, found), gradients(policy, expected)
    assert (found - expected).norm() < 1e-5 * expected.norm()


def test_cdpo_on_one_pair_is_trls_aot(
    models: tuple["LlavaBackbone", "LlavaBackbone"], pairs: list[Pair], tmp_path: Path
) -> None:
    # It sorts a batch before it compares, so that only one pair at a time is left as it is.
    expected = trl_loss(*models, pairs[:1], tmp_path, loss_type=["aot"], **SMOOTH)
    found = our_losses("cdpo", *models, pairs[:1], **SMOOTH).mean()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_simpo_and_orpo_are_those_of_trls_own_trainers(
    models: tuple["LlavaBackbone", "LlavaBackbone"], pairs: list[Pair]
) -> None:
    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.orpo import ORPOTrainer

    scored = Scorer(models[0]).score(pairs, CELLS)
    means = [(scored[cell].logps / scored[cell].lengths).detach() for cell in CELLS]
    place = SimpleNamespace(device="cpu")
    simpo = SimpleNamespace(
        alpha=0.0, beta=2.0, simpo_gamma=0.5, label_smoothing=0.0, loss_type="simpo", accelerator=place
    )
    expected, *_ = CPOTrainer.cpo_loss(simpo, *means)
    found = our_losses("simpo", *models, pairs, beta=2.0, gamma=0.5)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    # What is added to the likelihood of the chosen response; there it is called the loss, and subtracted.
    ratio, *_ = ORPOTrainer.odds_ratio_loss(SimpleNamespace(beta=0.25, accelerator=place), *means)
    found = our_losses("orpo", *models, pairs, weight=0.25)
    torch.testing.assert_close(found, -means[0] - ratio, rtol=1e-5, atol=1e-5)


def test_irpo_on_one_pair_is_trls_sigmoid_and_sft(
    models: tuple["LlavaBackbone", "LlavaBackbone"], pairs: list[Pair], tmp_path: Path
) -> None:
    policy, _ = models
    theirs = trl_loss(*models, pairs[:1], tmp_path, loss_type=["sigmoid", "sft"])
    ours = our_losses("irpo", *models, pairs[:1]).mean()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    ours, theirs = gradients(policy, ours), gradients(policy, theirs)
    assert (ours - theirs).norm() < 1e-5 * theirs.norm()


def test_irpo_on_a_batch_is_the_mean_over_sequences_where_trls_is_over_tokens(
    models: tuple["LlavaBackbone", "LlavaBackbone"], pairs: list[Pair], tmp_path: Path
) -> None:
    batch = pairs[:2]
    assert len({len(pair.responses[ResponseRole.CHOSEN]) for pair in batch}) == 2
    alone = [trl_loss(*models, [pair], tmp_path, loss_type=["sigmoid", "sft"]) for pair in batch]
    ours = our_losses("irpo", *models, batch).mean()
    torch.testing.assert_close(ours, torch.stack(alone).mean(), rtol=1e-5, atol=1e-5)
    together = trl_loss(*models, batch, tmp_path, loss_type=["sigmoid", "sft"])
    assert abs((ours - together).item()) > 1e-3
