"""Mistakes of published preference losses; a test also evaluates the mistaken formula and sees it differ."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from tests.objectives.conftest import with_tokens
from torch.nn.functional import logsigmoid

from medpref.backbones.sampling import Sampling
from medpref.errors import InputError
from medpref.objectives import Scores, objectives
from medpref.objectives.base import Objective
from medpref.pairs.pair import ImageRole, Pair
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer
from medpref.training.checks import check_pairs
from medpref.training.reference import compute_reference

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone


def scores_of(entry: Objective, policy: "LlavaBackbone", reference: "LlavaBackbone", pair: Pair) -> Scores:
    before = compute_reference(Scorer(reference), [pair], entry.cells).look_up([pair], entry.cells)
    scored = Scorer(policy).score([pair], entry.cells)
    return Scores(
        {cell: score.logps.detach() for cell, score in scored.items()},
        {cell: tokens.sum(1) for cell, tokens in before.items()},
        {cell: score.lengths for cell, score in scored.items()},
    )


def test_mdpo_reads_the_rejected_image(make_backbone, pairs: list[Pair]) -> None:
    policy, reference = make_backbone("mistral", 0), make_backbone("mistral", 1)
    entry = objectives["mdpo"]
    other_image = pairs[0].with_images(ImageRole.REJECTED, pairs[2].images[ImageRole.REJECTED])
    scores = [scores_of(entry, policy, reference, pair) for pair in (pairs[0], other_image)]
    losses = [entry.loss(s).item() for s in scores]
    assert abs(losses[0] - losses[1]) > 1e-3
    # The released trainer scores the clean image in its CoPO term: 2 · dpo + anchor, whatever m' is.
    mistaken = [
        (2 * objectives["dpo"].loss(s) - logsigmoid(0.1 * s.delta(Cell.CLEAN_CHOSEN))).item() for s in scores
    ]
    assert mistaken[0] == mistaken[1]
    assert all(abs(loss - wrong) > 1e-3 for loss, wrong in zip(losses, mistaken, strict=True))


@pytest.mark.parametrize("name", ["irpo", "sft"])
def test_nll_is_a_mean_per_sequence(name: str) -> None:
    cells = objectives[name].cells
    logps = {cell: torch.tensor([-2.0, -30.0]) for cell in cells}
    lengths = {cell: torch.tensor([1, 30]) for cell in cells}
    losses = objectives[name].loss(Scores(logps, logps, lengths))
    nll = losses - (0.6931471805599453 if name == "irpo" else 0)
    # 2 / 1 and 30 / 30: the mean is 1.5; over the batch's tokens it would be 32 / 31.
    torch.testing.assert_close(nll, torch.tensor([2.0, 1.0]))
    assert nll.mean().item() == pytest.approx(1.5)
    assert nll.mean().item() != pytest.approx(32 / 31, abs=0.1)


def test_a_missing_weight_is_an_error_that_names_the_pair(pairs: list[Pair], make_pair) -> None:
    images = pairs[0].images
    bare = make_pair("bare", images[ImageRole.CLEAN], images[ImageRole.REJECTED])
    with pytest.raises(InputError, match="pair bare: no weight, which objective mmedpo needs"):
        check_pairs([*pairs, bare], objectives["mmedpo"])
    check_pairs([*pairs, bare], objectives["mdpo"])


def test_mmedpo_without_weights_does_not_weigh_all_alike() -> None:
    cells = {cell: torch.tensor([-3.0]) for cell in Cell}
    lengths = {cell: torch.tensor([3]) for cell in Cell}
    with pytest.raises(InputError, match="the pairs have no weight"):
        objectives["mmedpo"].loss(Scores(cells, cells, lengths))


def test_dpos_margin_is_a_difference_of_pairs_not_of_a_broadcast_batch() -> None:
    cells = {cell: torch.randn(3) for cell in Cell}
    lengths = {cell: torch.tensor([3, 4, 5]) for cell in Cell}
    reference = {cell: torch.zeros(3) for cell in Cell}
    for name, entry in objectives.items():
        scores = with_tokens(Scores(cells, reference, lengths, torch.ones(3)))
        assert entry.loss(scores).shape == (3,), name


@pytest.mark.parametrize("family", ["mistral", "qwen2"])
def test_every_objective_scores_in_the_template_that_generation_uses(
    family: str, make_backbone, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    from medpref.scoring import scorer

    backbone = make_backbone(family)
    seen: dict[str, set[tuple[int, ...]]] = {}
    for name, entry in objectives.items():
        prompts = seen.setdefault(name, set())

        def spy(paths, *, _into=prompts, _plan=scorer.make_plan, **rest):
            _into |= {path.prompt for path in paths}
            return _plan(paths, **rest)

        with monkeypatch.context() as patch:
            patch.setattr(scorer, "make_plan", spy)
            Scorer(backbone).score(pairs[:1], entry.cells)
    asked = []
    with monkeypatch.context() as patch:
        whole = backbone.model.generate
        patch.setattr(
            backbone.model, "generate", lambda **given: asked.append(given["input_ids"]) or whole(**given)
        )
        images = Scorer(backbone).inputs.images(pairs[0].images[ImageRole.CLEAN])
        prompt = backbone.prompt_ids(pairs[0].prompt)
        backbone.generate([prompt], [images], Sampling(max_new_tokens=2))
    assert set(map(frozenset, seen.values())) == {frozenset({tuple(asked[0][0].tolist())})}


def test_a_reference_of_one_template_does_not_fit_another(make_backbone, pairs: list[Pair]) -> None:
    backbone = make_backbone("mistral")
    prompt = backbone.prompt_ids(pairs[0].prompt)
    other = make_backbone("qwen2").prompt_ids(pairs[0].prompt)
    assert prompt != other


def test_changing_the_rejected_image_file_changes_copo(
    make_backbone, pairs: list[Pair], tmp_path: Path
) -> None:
    policy, reference = make_backbone("qwen2", 0), make_backbone("qwen2", 1)
    entry = objectives["copo"]
    before = entry.loss(scores_of(entry, policy, reference, pairs[0])).item()
    path = pairs[0].images[ImageRole.REJECTED][0]
    path.write_bytes(pairs[2].images[ImageRole.REJECTED][0].read_bytes())
    assert abs(entry.loss(scores_of(entry, policy, reference, pairs[0])).item() - before) > 1e-3
