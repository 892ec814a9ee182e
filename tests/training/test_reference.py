from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from medpref.errors import InputError
from medpref.objectives import objectives
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer
from medpref.training.reference import ReferenceLogps, compute_reference

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone

CELLS = list(Cell)


def test_the_reference_is_what_the_scorer_says(backbone: "LlavaBackbone", pairs: list[Pair]) -> None:
    reference = compute_reference(Scorer(backbone), pairs, CELLS, images_per_batch=2)
    scores = Scorer(backbone).score(pairs, CELLS)
    found = reference.look_up(pairs, CELLS)
    for cell in CELLS:
        torch.testing.assert_close(found[cell], scores[cell].tokens.detach(), rtol=1e-6, atol=1e-5)
        assert not found[cell].requires_grad


def test_values_belong_to_ids_and_not_to_places(make_backbone, pairs: list[Pair]) -> None:
    scorer = Scorer(make_backbone("mistral"))
    # Pairs on one image come together in the pass: another order than that of the list.
    mixed = [pairs[n] for n in (4, 0, 3, 5, 1, 2)]
    found = compute_reference(scorer, mixed, CELLS).look_up(pairs, CELLS)
    expected = compute_reference(scorer, pairs, CELLS).look_up(pairs, CELLS)
    for cell in CELLS:
        torch.testing.assert_close(found[cell], expected[cell], rtol=1e-6, atol=1e-5)


def test_saved_values_are_read_bit_for_bit(make_backbone, pairs: list[Pair], tmp_path: Path) -> None:
    cells = [Cell.CLEAN_CHOSEN, Cell.REJECTED_CHOSEN]
    reference = compute_reference(Scorer(make_backbone("mistral")), pairs, cells)
    reference.save(tmp_path / "reference.safetensors")
    loaded = ReferenceLogps.load(tmp_path / "reference.safetensors")
    assert loaded.ids == reference.ids
    assert set(loaded.values) == set(cells)
    assert all(torch.equal(loaded.values[cell], reference.values[cell]) for cell in cells)


def test_an_unknown_pair_is_named(make_backbone, pairs: list[Pair], make_pair) -> None:
    reference = compute_reference(Scorer(make_backbone("mistral")), pairs, CELLS[:1])
    with pytest.raises(InputError, match="no reference log-prob for 'stranger'"):
        reference.look_up([make_pair("stranger")], CELLS[:1])
    with pytest.raises(InputError, match="no reference log-prob for"):
        reference.look_up(pairs, CELLS[1:2])


def test_the_pass_leaves_the_model_in_its_mode_and_without_gradients(
    make_backbone, pairs: list[Pair]
) -> None:
    backbone = make_backbone("mistral")
    for training in (True, False):
        backbone.model.train(training)
        compute_reference(Scorer(backbone), pairs, CELLS)
        assert backbone.model.training == training
    assert all(parameter.grad is None for parameter in backbone.model.parameters())


def test_progress_counts_each_pair_once(make_backbone, pairs: list[Pair]) -> None:
    done: list[int] = []
    scorer = Scorer(make_backbone("mistral"))
    compute_reference(scorer, pairs, CELLS[:1], images_per_batch=2, advance=done.append)
    assert done == [4, 2]
    for cells in (CELLS, CELLS[1:3]):
        done.clear()
        compute_reference(scorer, pairs, cells, images_per_batch=1, advance=done.append)
        assert sum(done) == len(pairs)


def test_the_longest_rows_come_first_and_are_padded_little(
    make_backbone, make_pair, make_image, monkeypatch
) -> None:
    texts = ["Yes", "Yes, in the upper lobe of the left lung.", "No", "No lesion in the right lung at all."]
    mixed = [
        make_pair(f"p{n}", (make_image(f"{n}.png", n),), chosen=text, refused=None)
        for n, text in enumerate(texts)
    ]
    scorer = Scorer(make_backbone("mistral"))
    widths, plain = [], scorer.score_all

    def note(requests):
        before = scorer.tokens
        scored = plain(requests)
        widths.append((scorer.tokens - before) // sum(len(request.pairs) for request in requests))
        return scored

    monkeypatch.setattr(scorer, "score_all", note)
    compute_reference(scorer, mixed, CELLS[:1], images_per_batch=2)
    longest = sorted((len(scorer.inputs.ids(p, Cell.CLEAN_CHOSEN)[1]) for p in mixed), reverse=True)
    prompt = len(scorer.inputs.prompt_ids(mixed[0].prompt))
    assert widths == [prompt + longest[0] - 1, prompt + longest[2] - 1]


def test_equal_responses_on_equal_images_are_scored_once(make_backbone, make_pair, make_image) -> None:
    image, same = make_image("a.png"), make_image("copy.png")
    twins = [make_pair("a", (image,)), make_pair("b", (same,)), make_pair("c", (make_image("c.png", 1),))]
    reference = compute_reference(Scorer(make_backbone("mistral")), twins, CELLS[:2])
    assert reference.report is not None
    assert reference.report.computed == 4
    found = reference.look_up(twins, CELLS[:2])[CELLS[0]]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_two_pairs_with_one_id_are_refused(make_backbone, pairs: list[Pair], make_pair) -> None:
    with pytest.raises(InputError, match="pair p0-is: two pairs have this id"):
        compute_reference(
            Scorer(make_backbone("mistral")), [*pairs, make_pair("p0-is", chosen="Other")], CELLS[:1]
        )


def test_a_lacking_part_is_named(make_backbone, make_pair) -> None:
    with pytest.raises(InputError, match="pair bare: no rejected response, which clean/rejected needs"):
        compute_reference(Scorer(make_backbone("mistral")), [make_pair("bare", refused=None)], CELLS[:2])


def test_the_reference_does_not_drift_as_the_policy_trains(
    backbone: "LlavaBackbone", pairs: list[Pair], make_trainer, tmp_path: Path
) -> None:
    cells = objectives["mdpo"].cells
    start = compute_reference(Scorer(backbone), pairs, cells)
    start.save(tmp_path / "reference.safetensors")
    before = (tmp_path / "reference.safetensors").read_bytes()
    loaded = ReferenceLogps.load(tmp_path / "reference.safetensors")
    trainer = make_trainer(backbone, "mdpo", reference=loaded, steps=5, images_per_step=3)
    trainer.train()

    assert (tmp_path / "reference.safetensors").read_bytes() == before
    assert all(torch.equal(loaded.values[cell], start.values[cell]) for cell in cells)
    backbone.model.eval()
    (scores,) = trainer.batch_scores([(trainer.parts[0], pairs)])
    policy = Scorer(backbone).score(pairs, cells)
    for cell in cells:
        expected = policy[cell].logps - start.look_up(pairs, [cell])[cell].sum(1)
        torch.testing.assert_close(scores.delta(cell), expected)
    # A reference that shares the policy's weights would have drifted along and find no difference.
    drifted = compute_reference(Scorer(backbone), pairs, cells).look_up(pairs, cells)
    chosen = Cell.CLEAN_CHOSEN
    assert scores.delta(chosen).abs().min() > 1e-2
    assert (policy[chosen].logps - drifted[chosen].sum(1)).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["dpo", "copo", "mdpo", "mmedpo"])
def test_rewards_start_at_zero(backbone: "LlavaBackbone", make_trainer, name: str) -> None:
    trainer = make_trainer(backbone, name, steps=2, images_per_step=3)
    trainer.train()
    first, second = [row for row in trainer.state.log_history if "loss" in row]
    rewards = [key for key in first if key.startswith("rewards/") and "accuracies" not in key]
    assert len(rewards) >= 3
    assert all(abs(first[key]) < 1e-5 for key in rewards)
    assert abs(second["rewards/chosen"]) > 1e-3
