from collections.abc import Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.objectives.conftest import with_tokens

from medpref.objectives import Scores, objectives
from medpref.scoring.cells import Cell

NATS = st.floats(-200, 0, width=32)
SHIFTS = st.floats(-50, 50, width=32)
WITH_REFERENCE = ["dpo", "irpo", "copo", "mdpo", "mmedpo", "ld_dpo"]
CELLS = list(Cell)


def scores(policy: Mapping[Cell, float], reference: Mapping[Cell, float], weight: float = 1.0) -> Scores:
    as_tensor = {cell: torch.tensor([value], dtype=torch.float64) for cell, value in policy.items()}
    other = {cell: torch.tensor([value], dtype=torch.float64) for cell, value in reference.items()}
    lengths = {cell: torch.tensor([4]) for cell in policy}
    return with_tokens(Scores(as_tensor, other, lengths, torch.tensor([weight], dtype=torch.float64)))


def loss(name: str, given_scores: Scores, **settings: float) -> float:
    return float(objectives[name].loss(given_scores, **settings))


VALUES = st.fixed_dictionaries(dict.fromkeys(CELLS, NATS))


@given(VALUES, VALUES, SHIFTS)
def test_a_shift_shared_by_policy_and_reference_changes_nothing(
    policy: dict[Cell, float], reference: dict[Cell, float], shift: float
) -> None:
    shifted = {cell: value + shift for cell, value in policy.items()}
    moved = {cell: value + shift for cell, value in reference.items()}
    for name in ("dpo", "copo", "mdpo", "mmedpo", "ld_dpo"):
        assert loss(name, scores(shifted, moved)) == pytest.approx(loss(name, scores(policy, reference)))


@given(VALUES, VALUES, SHIFTS)
def test_irpo_also_reads_the_policy_alone(
    policy: dict[Cell, float], reference: dict[Cell, float], shift: float
) -> None:
    shifted = {cell: value + shift for cell, value in policy.items()}
    moved = {cell: value + shift for cell, value in reference.items()}
    difference = loss("irpo", scores(shifted, moved)) - loss("irpo", scores(policy, reference))
    assert difference == pytest.approx(-shift / 4, abs=1e-9)


@given(VALUES, VALUES)
def test_swapping_the_responses_flips_the_sign_of_dpos_margin(
    policy: dict[Cell, float], reference: dict[Cell, float]
) -> None:
    swap = {Cell.CLEAN_CHOSEN: Cell.CLEAN_REJECTED, Cell.CLEAN_REJECTED: Cell.CLEAN_CHOSEN}
    swapped = scores(
        {cell: policy[swap.get(cell, cell)] for cell in CELLS},
        {cell: reference[swap.get(cell, cell)] for cell in CELLS},
    )
    margin = (policy[Cell.CLEAN_CHOSEN] - reference[Cell.CLEAN_CHOSEN]) - (
        policy[Cell.CLEAN_REJECTED] - reference[Cell.CLEAN_REJECTED]
    )
    # −log σ(x) + log σ(−x) = −x
    difference = loss("dpo", scores(policy, reference)) - loss("dpo", swapped)
    assert difference == pytest.approx(-0.1 * margin, abs=1e-9)


@given(VALUES, VALUES, st.floats(0.5, 50))
@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_a_likelier_chosen_response_costs_less(
    name: str, policy: dict[Cell, float], reference: dict[Cell, float], more: float
) -> None:
    better = {**policy, Cell.CLEAN_CHOSEN: policy[Cell.CLEAN_CHOSEN] + more}
    assert loss(name, scores(better, reference)) < loss(name, scores(policy, reference))


@given(VALUES, VALUES, st.floats(0.5, 50))
@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_a_likelier_rejected_side_costs_more(
    name: str, policy: dict[Cell, float], reference: dict[Cell, float], more: float
) -> None:
    worse = {cell: value + more * (cell != Cell.CLEAN_CHOSEN) for cell, value in policy.items()}
    assert loss(name, scores(worse, reference)) > loss(name, scores(policy, reference))


@given(VALUES, VALUES, st.floats(0, 5))
def test_mmedpo_is_linear_in_the_weight(
    policy: dict[Cell, float], reference: dict[Cell, float], weight: float
) -> None:
    whole = loss("mmedpo", scores(policy, reference, 1.0))
    assert loss("mmedpo", scores(policy, reference, weight)) == pytest.approx(weight * whole)


def test_weight_zero_deletes_a_pair_from_mmedpo() -> None:
    policy = dict.fromkeys(CELLS, -5.0)
    assert loss("mmedpo", scores(policy, {cell: -4.0 * (i + 1) for i, cell in enumerate(CELLS)}, 0.0)) == 0


@pytest.mark.parametrize("name", [*WITH_REFERENCE, "sft"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_extreme_values_give_finite_losses_and_gradients(name: str, sign: int) -> None:
    logps = {
        cell: torch.tensor([sign * 1e6 * (1 if cell == Cell.CLEAN_CHOSEN else -1)], requires_grad=True)
        for cell in CELLS
    }
    reference = {cell: torch.zeros(1) for cell in CELLS}
    lengths = {cell: torch.tensor([1]) for cell in CELLS}
    value = objectives[name].loss(with_tokens(Scores(logps, reference, lengths, torch.ones(1))))
    value.sum().backward()
    assert torch.isfinite(value).all()
    gradients = [logps[cell].grad for cell in objectives[name].cells]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("name", list(objectives))
def test_gradients_reach_the_declared_cells_and_no_others(name: str) -> None:
    logps = {cell: torch.tensor([-5.0, -7.0], requires_grad=True) for cell in CELLS}
    reference = {cell: torch.tensor([-6.0, -6.0]) for cell in CELLS}
    lengths = {cell: torch.tensor([3, 4]) for cell in CELLS}
    objectives[name].loss(with_tokens(Scores(logps, reference, lengths, torch.ones(2)))).mean().backward()
    reached = {cell for cell in CELLS if logps[cell].grad is not None}
    assert reached == set(objectives[name].cells)
    # On a minimal pair's rejected image the rejected response is right.
    minimal = name in ("minimal_pair", "sft_both")
    raised = {Cell.CLEAN_CHOSEN} | ({Cell.REJECTED_REJECTED} if minimal else set())
    for cell in raised:
        chosen = logps[cell].grad
        assert chosen is not None
        assert (chosen < 0).all()
    for cell in reached - raised:
        gradient = logps[cell].grad
        assert gradient is not None
        assert (gradient > 0).all()


TABLES = st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(
    lambda lengths: st.tuples(*(st.lists(NATS, min_size=n, max_size=n) for n in lengths * 2))
)


@given(TABLES, st.floats(0, 1))
def test_ld_dpo_is_dpo_where_nothing_is_longer(tables: tuple[list[float], ...], ld_alpha: float) -> None:
    whole = token_scores(*tables)
    dpo = loss("dpo", whole)
    assert loss("ld_dpo", whole, ld_alpha=1.0) == pytest.approx(dpo, abs=1e-9)
    shorter = min(len(tables[0]), len(tables[1]))
    cut = token_scores(*(values[:shorter] for values in tables))
    assert loss("ld_dpo", cut, ld_alpha=ld_alpha) == pytest.approx(loss("dpo", cut), abs=1e-9)
    # At α = 0 nothing behind the shorter one's length counts.
    assert loss("ld_dpo", whole, ld_alpha=0.0) == pytest.approx(loss("dpo", cut), abs=1e-9)


@given(TABLES, st.integers(1, 5))
def test_ld_dpo_does_not_read_what_stands_behind_the_end(tables: tuple[list[float], ...], more: int) -> None:
    whole = token_scores(*tables)
    widened = Scores(
        whole.logps,
        whole.reference,
        whole.lengths,
        None,
        {cell: torch.nn.functional.pad(table, (0, more)) for cell, table in whole.tokens.items()},
        {cell: torch.nn.functional.pad(table, (0, more)) for cell, table in whole.reference_tokens.items()},
    )
    assert loss("ld_dpo", widened) == pytest.approx(loss("ld_dpo", whole), abs=1e-12)


def token_scores(
    chosen: list[float], rejected: list[float], chosen_before: list[float], rejected_before: list[float]
) -> Scores:
    def tables(*values: list[float]) -> dict[Cell, torch.Tensor]:
        rows = [torch.tensor([row], dtype=torch.float64) for row in values]
        return dict(zip((Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED), rows, strict=True))

    tokens, before = tables(chosen, rejected), tables(chosen_before, rejected_before)
    return Scores(
        {cell: table.sum(1) for cell, table in tokens.items()},
        {cell: table.sum(1) for cell, table in before.items()},
        {cell: torch.tensor([table.shape[1]]) for cell, table in tokens.items()},
        None,
        tokens,
        before,
    )


def test_each_pair_has_a_loss_of_its_own() -> None:
    logps = {cell: torch.tensor([-5.0, -7.0], requires_grad=True) for cell in CELLS}
    reference = {cell: torch.tensor([-6.0, -6.0]) for cell in CELLS}
    lengths = {cell: torch.tensor([3, 4]) for cell in CELLS}
    objectives["mdpo"].loss(Scores(logps, reference, lengths))[0].backward()
    gradient = logps[Cell.CLEAN_CHOSEN].grad
    assert gradient is not None
    assert gradient[0] != 0
    assert gradient[1] == 0
