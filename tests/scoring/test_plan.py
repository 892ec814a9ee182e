import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medpref.scoring.plan import Path, Plan, make_plan

IMAGE, PAD = 9, 0
TOKEN = st.integers(1, 4)
# Few stems, so that most paths share a row with others.
STEMS = [((0,), (1, IMAGE)), ((1,), (1, IMAGE)), ((0, 2), (IMAGE, 2, IMAGE)), ((), (1,)), ((), (1, 2))]
PATH = st.builds(
    lambda stem, question, response: Path(stem[0], (*stem[1], *question), response),
    st.sampled_from(STEMS),
    st.lists(TOKEN, max_size=2).map(tuple),
    st.lists(TOKEN, min_size=1, max_size=3).map(tuple),
)


def plan_of(*paths: Path, shared: bool = True) -> Plan:
    return make_plan(paths, image_token=IMAGE, pad=PAD, shared=shared)


def context(plan: Plan, row: int, column: int) -> tuple[list[int], list[int]]:
    """Return the tokens that a position sees, by their positions, and these positions."""
    seen = plan.rows.mask()[row, column].nonzero()[:, 0]
    order = seen[plan.rows.positions[row, seen].argsort(stable=True)]
    return plan.rows.ids[row, order].tolist(), plan.rows.positions[row, order].tolist()


def check_against_brute_force(paths: list[Path], plan: Plan) -> None:
    """Check that everything that is read has seen exactly its own past, as in a row of its own."""
    width, mask = plan.rows.queries.shape[1], plan.rows.mask()
    for asked, path in zip(plan.paths.tolist(), paths, strict=True):
        mine = plan.owner == asked
        assert plan.targets[mine].tolist() == list(path.response)
        whole = [*path.prompt, *path.response]
        for step, place in enumerate(plan.read[mine].tolist()):
            row, query = divmod(place, width)
            column = int(plan.rows.queries[row, query])
            assert torch.equal(plan.rows.visible[row, query], mask[row, column])
            assert plan.rows.images[row] == path.images
            length = len(path.prompt) + step
            assert context(plan, row, column) == (whole[:length], list(range(length)))
            # And what it sees has seen nothing else either.
            for key in mask[row, column].nonzero()[:, 0].tolist():
                upto = int(plan.rows.positions[row, key]) + 1
                assert context(plan, row, key) == (whole[:upto], list(range(upto)))


@given(st.lists(PATH, min_size=1, max_size=8), st.booleans())
def test_every_read_position_sees_exactly_its_own_past(paths: list[Path], shared: bool) -> None:
    plan = plan_of(*paths, shared=shared)
    check_against_brute_force(paths, plan)
    assert int(plan.owner.max()) + 1 == len(set(paths))


@given(st.lists(PATH, min_size=1, max_size=8))
def test_sharing_never_costs_tokens(paths: list[Path]) -> None:
    def used(plan: Plan) -> int:
        return int((plan.rows.ids != PAD).sum())

    assert used(plan_of(*paths)) <= used(plan_of(*paths, shared=False))
    separate = sum(len(path.prompt) + len(path.response) - 1 for path in set(paths))
    assert used(plan_of(*paths, shared=False)) == separate


STEM = (1, IMAGE, IMAGE)
YES = Path((0,), (*STEM, 2, 3), (5, 6, 8))
NO = Path((0,), (*STEM, 2, 3), (7, 8))
OTHER = Path((0,), (*STEM, 4), (5, 8))


def test_a_row_in_full() -> None:
    # [1 I I | 2 3 | 5 6 | 7 | 4 | 5]: stem and questions once, each response without its last token.
    rows = plan_of(YES, NO, OTHER).rows
    assert rows.ids.tolist() == [[1, 9, 9, 2, 3, 5, 6, 7, 4, 5]]
    assert rows.positions.tolist() == [[0, 1, 2, 3, 4, 5, 6, 5, 3, 4]]
    assert rows.images == ((0,),)


def test_where_a_row_is_read() -> None:
    plan = plan_of(YES, NO, OTHER)
    assert plan.rows.queries.tolist() == [[4, 5, 6, 7, 8, 9]]
    assert plan.read.tolist() == [0, 1, 2, 0, 3, 4, 5]
    assert plan.targets.tolist() == [5, 6, 8, 7, 8, 5, 8]
    assert plan.owner.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert plan.paths.tolist() == [0, 1, 2]


def test_siblings_do_not_see_each_other() -> None:
    allowed = plan_of(YES, NO, OTHER).rows.mask()[0]
    responses, questions = ([5, 6], [7]), ([3, 4], [8])
    assert not allowed[responses[1]][:, responses[0]].any()
    assert not allowed[questions[1]][:, questions[0]].any()
    assert not allowed[questions[1]][:, responses[0]].any()
    assert not allowed[[9]][:, [3, 4, 5, 6, 7]].any()
    assert not allowed.triu(1).any()


def test_equal_paths_are_computed_once() -> None:
    plan = plan_of(YES, NO, YES, YES)
    assert plan.paths.tolist() == [0, 1, 0, 0]
    assert plan.rows.ids.shape == plan_of(YES, NO).rows.ids.shape


def test_one_response_may_begin_another() -> None:
    begins = Path((0,), YES.prompt, YES.response[:2])
    check_against_brute_force([YES, begins], plan_of(YES, begins))


def test_other_images_get_another_row() -> None:
    plan = plan_of(YES, YES._replace(images=(1,)))
    assert plan.rows.images == ((0,), (1,))
    assert plan.rows.ids.shape == (2, 7)


def test_a_prompt_that_ends_at_the_image_shares_the_stem() -> None:
    bare = Path((0,), STEM, (5, 8))
    for paths in ([bare, YES], [YES, bare]):
        plan = plan_of(*paths)
        assert plan.rows.ids.shape == (1, 3 + 2 + 2 + 1)
        check_against_brute_force(paths, plan)


def test_text_before_the_image_belongs_to_the_stem() -> None:
    before = Path((0,), (2, IMAGE, IMAGE, 3), (5, 8))
    assert len(plan_of(before, YES).rows.ids) == 2


def test_prompts_without_images_have_rows_of_their_own() -> None:
    text, longer = Path((), (1, 2), (5, 8)), Path((), (1, 2, 3), (5, 8))
    assert len(plan_of(text, longer, YES).rows.ids) == 3


def test_padding_sees_itself_and_nothing_sees_padding() -> None:
    plan = plan_of(YES, YES._replace(images=(1,), prompt=(1, IMAGE)))
    allowed, padding = plan.rows.mask()[1], slice(4, 7)
    assert plan.rows.ids[1, padding].tolist() == [PAD] * 3
    assert torch.equal(allowed[padding, padding], torch.eye(3).bool())
    assert not allowed[:4, padding].any()
    assert not allowed[padding, :4].any()


def test_separate_rows_are_plainly_causal() -> None:
    plan = plan_of(YES, NO, shared=False)
    assert torch.equal(plan.rows.mask()[0], torch.ones(7, 7).tril().bool())
    assert plan.rows.ids.tolist() == [[1, 9, 9, 2, 3, 5, 6], [1, 9, 9, 2, 3, 7, 0]]


@pytest.mark.parametrize("shared", [True, False])
def test_a_response_of_the_end_token_alone_is_read_at_the_prompt(shared: bool) -> None:
    plan = plan_of(Path((0,), STEM, (8,)), shared=shared)
    assert plan.rows.queries[0, plan.read].tolist() == [2]
    assert plan.targets.tolist() == [8]


def test_common_beginnings_of_responses_are_computed_once() -> None:
    # A rejected response that differs in one word shares what stands before it.
    left, right = Path((0,), STEM, (5, 6, 2, 8)), Path((0,), STEM, (5, 6, 3, 8))
    plan = plan_of(left, right)
    assert plan.rows.ids.tolist() == [[1, 9, 9, 5, 6, 2, 3]]
    assert plan.rows.positions.tolist() == [[0, 1, 2, 3, 4, 5, 5]]
    check_against_brute_force([left, right], plan)


def test_the_trunk_is_the_longest_path_of_the_shortest_row() -> None:
    plan = plan_of(YES, NO, YES._replace(images=(1,), response=(5, 8)))
    assert plan.rows.trunk == 6
    assert plan.rows.allowed.shape == (2, 8 - 6, 8)


@given(st.lists(PATH, min_size=1, max_size=8), st.booleans())
def test_a_trunk_is_plainly_causal(paths: list[Path], shared: bool) -> None:
    split = plan_of(*paths, shared=shared)
    whole = make_plan(paths, image_token=IMAGE, pad=PAD, shared=shared, split=False)
    assert whole.rows.trunk == 0
    assert split.rows.trunk >= 1
    assert torch.equal(split.rows.mask(), whole.rows.mask())
