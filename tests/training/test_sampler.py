import random
from collections import Counter
from itertools import chain, islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpref.errors import InputError
from medpref.training.sampler import (
    WINDOW,
    Batches,
    BatchSize,
    Mixture,
    ProcessShare,
    pass_batches,
    run_batches,
)


def one_part(count: int, rows: list[tuple[int, ...]] | None = None) -> Mixture:
    return Mixture([0] * count, [1.0], rows or [])


def lengths(count: int) -> list[tuple[int, ...]]:
    """Return rows of groups: one or two of each, about as long as each other."""
    draw = random.Random(0)
    return [tuple([draw.randint(5, 60)] * draw.randint(1, 2)) for _ in range(count)]


def run(mixture: Mixture, groups: int = 4, tokens: int | None = None, **rest: object) -> Batches:
    usual = {"count": 30, "seed": 0, "by_length": False}
    return run_batches(mixture, BatchSize(groups, tokens), **{**usual, **rest})


def cost(batch: list[int], rows: list[tuple[int, ...]]) -> int:
    """Return a batch's tokens when all its rows are padded to the longest."""
    all_rows = [length for group in batch for length in rows[group]]
    return max(all_rows) * len(all_rows)


def test_each_pass_holds_every_group_once_in_another_order() -> None:
    order = list(chain.from_iterable(run(one_part(7))))
    passes = [order[start : start + 7] for start in range(0, 105, 7)]
    assert all(sorted(one) == list(range(7)) for one in passes)
    assert len({tuple(one) for one in passes}) > 10


@given(st.integers(0, 5), st.booleans(), st.sampled_from([None, 200, 500]))
def test_batches_depend_on_nothing_but_seed_groups_and_settings(
    seed: int, by_length: bool, tokens: int | None
) -> None:
    mixture = Mixture([0] * 20 + [1] * 10, [1.0, 2.0], lengths(30))
    state = random.getstate()
    once = run(mixture, tokens=tokens, seed=seed, by_length=by_length)
    random.seed(7)
    assert run(mixture, tokens=tokens, seed=seed, by_length=by_length) == once
    assert run(mixture, tokens=tokens, seed=seed + 1, by_length=by_length) != once
    random.setstate(state)


@given(st.booleans(), st.sampled_from([None, 200, 500]))
def test_a_longer_run_begins_as_the_shorter_one(by_length: bool, tokens: int | None) -> None:
    mixture = Mixture([0] * 20 + [1] * 10, [1.0, 2.0], lengths(30))
    short = run(mixture, tokens=tokens, by_length=by_length)
    long = run(mixture, tokens=tokens, by_length=by_length, count=70)
    assert len(short) == 30
    assert len(long) == 70
    assert long[:30] == short


def test_shares_are_how_often_a_part_is_drawn() -> None:
    mixture = Mixture([0] * 50 + [1] * 5, [3.0, 1.0])
    order = list(chain.from_iterable(run(mixture, groups=8, count=500)))
    second = [group for group in order if group >= 50]
    # 4,000 draws with a probability of a quarter: the standard deviation is 27.
    assert abs(len(second) - 1000) < 120
    # The small part is passed over many times, each time whole.
    for start in range(0, 900, 5):
        assert sorted(second[start : start + 5]) == [50, 51, 52, 53, 54]
    # Parts are mixed within batches, not one batch of each.
    assert sum(len({group >= 50 for group in order[n : n + 8]}) == 2 for n in range(0, 4000, 8)) > 400


def test_the_first_pass_goes_from_hard_to_easy_and_later_ones_do_not() -> None:
    hardness = [1.0, 3.0, 2.0, 3.0, 1.0, 1.0]
    order = list(chain.from_iterable(run(Mixture([0] * 6, [1.0], (), hardness))))
    assert [hardness[group] for group in order[:6]] == [3.0, 3.0, 2.0, 1.0, 1.0, 1.0]
    later = [[hardness[group] for group in order[n : n + 6]] for n in range(6, 60, 6)]
    assert not any(one == sorted(one, reverse=True) for one in later[:3])
    # Equals come in another order with another seed.
    orders = {
        tuple(chain.from_iterable(run(Mixture([0] * 6, [1.0], (), hardness), seed=s))) for s in range(5)
    }
    assert len(orders) > 1


def test_a_parts_order_does_not_depend_on_the_other_parts() -> None:
    alone = list(chain.from_iterable(run(one_part(9))))
    mixed = list(chain.from_iterable(run(Mixture([0] * 9 + [1] * 4, [1.0, 1.0]))))
    first = [group for group in mixed if group < 9]
    assert first == alone[: len(first)]


@pytest.mark.parametrize("by_length", [False, True])
def test_no_batch_goes_over_its_budget(by_length: bool) -> None:
    rows = lengths(40)
    batches = run(one_part(40, rows), tokens=400, by_length=by_length, count=60)
    assert all(cost(batch, rows) <= 400 for batch in batches)
    assert len({len(batch) for batch in batches}) > 1


def test_a_budget_is_used_up() -> None:
    rows = lengths(40)
    batches = run(one_part(40, rows), tokens=400)
    for batch, following in pairwise(batches):
        assert cost([*batch, following[0]], rows) > 400


@pytest.mark.parametrize("tokens", [None, 400])
def test_by_length_saves_padding_and_loses_no_group(tokens: int | None) -> None:
    rows = lengths(64)
    mixture = one_part(64, rows)

    def padding(batches: Batches) -> float:
        spent = sum(cost(batch, rows) for batch in batches)
        return spent / sum(sum(rows[group]) for group in chain.from_iterable(batches)) - 1

    sorted_, plain = run(mixture, tokens=tokens, by_length=True), run(mixture, tokens=tokens)
    assert padding(sorted_) < 0.5 * padding(plain)
    seen = Counter(chain.from_iterable(run(mixture, tokens=tokens, by_length=True, count=400)))
    assert set(seen) == set(range(64))
    # What waits for the next window is at most one batch, so no group falls behind for long.
    assert max(seen.values()) - min(seen.values()) <= 3


@pytest.mark.parametrize(("count", "most"), [(10, 30), (64, 0), (100, 4)])
def test_by_length_batches_seldom_hold_a_group_twice(count: int, most: int) -> None:
    batches = run(one_part(count, lengths(count)), by_length=True, count=200)
    assert all(len(batch) == 4 for batch in batches)
    assert sum(len(set(batch)) < 4 for batch in batches) <= most


def test_by_length_works_with_fewer_groups_than_a_batch_holds() -> None:
    batches = run(one_part(3, lengths(3)), by_length=True)
    assert all(len(batch) == 4 for batch in batches)
    assert Counter(chain.from_iterable(batches)).keys() == {0, 1, 2}


def test_by_length_leaves_the_order_of_batches_to_chance() -> None:
    rows = lengths(64)
    batches = run(one_part(64, rows), by_length=True, count=WINDOW)
    longest = [max(max(rows[group]) for group in batch) for batch in batches]
    assert longest != sorted(longest)
    assert longest != sorted(longest, reverse=True)


def test_a_group_larger_than_the_budget_is_an_error() -> None:
    with pytest.raises(InputError, match="one image with its pairs takes 120 tokens"):
        run(one_part(2, [(10,), (40, 60)]), tokens=100)


@given(st.integers(1, 30), st.integers(1, 7), st.sampled_from([None, 200]))
def test_an_evaluation_sees_every_group_once(count: int, groups: int, tokens: int | None) -> None:
    batches = pass_batches(one_part(count, lengths(count)), BatchSize(groups, tokens))
    assert list(chain.from_iterable(batches)) == list(range(count))


@given(st.integers(1, 5), st.integers(1, 6))
def test_processes_share_each_batch(processes: int, groups: int) -> None:
    batches = run(one_part(20), groups=groups)
    shares = [ProcessShare(batches, number, processes) for number in range(processes)]
    assert {len(share) for share in shares} == {len(batches)}
    for batch, *parts in zip(batches, *shares, strict=True):
        assert sorted(group for part in parts for group in part if group >= 0) == sorted(batch)
        # Whoever has nothing to do runs along.
        assert all(part == [~batch[0]] for part in parts if part[0] < 0)


def test_one_process_has_all() -> None:
    batches = run(one_part(20))
    assert list(islice(ProcessShare(batches), 30)) == batches
