"""Forward passes laid out as the scorer would, without computing them: rows, tokens, images."""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple, TypeVar

from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.inputs import InputCache, image_indices, number_images
from medpref.scoring.plan import Path, Plan, make_plan
from medpref.scoring.scorer import Scorer
from medpref.study.dry.sizes import Load

T = TypeVar("T")
Asked = Sequence[tuple[Pair, Cell]]


class Pass(NamedTuple):
    """What a forward pass is made of; means over passes may be fractions.

    Attributes:
        cells: responses that are asked for, those of all pairs and cells.
        rows: token rows.
        tokens: tokens of all rows, padding included: what `Scorer.tokens` counts.
        padding: how many of them are padding.
        unshared: the tokens, padding included, if each distinct response stood in a row of its own.
        images: distinct images.
    """

    cells: float
    rows: float
    tokens: float
    padding: float
    unshared: float
    images: float


def lay_out(scorer: Scorer, asked: Asked) -> tuple[Pass, Load]:
    """Return what `scorer` would do for the cells of pairs, in one pass.

    Raises:
        InputError: a pair does not fit the context.
    """
    inputs = scorer.inputs
    numbers = number_images(asked)
    paths = [Path(image_indices(numbers, pair, cell.image), *inputs.ids(pair, cell)) for pair, cell in asked]
    return lay_out_paths(inputs, paths, len(numbers), scorer.shared)


def lay_out_paths(inputs: InputCache, paths: Sequence[Path], images: int, shared: bool) -> tuple[Pass, Load]:
    """Return what scoring token paths on so many distinct images would take, in one pass."""
    plan = make_plan(paths, image_token=inputs.image_token, pad=inputs.pad, shared=shared)
    distinct = set(paths)
    rows, tokens = plan.rows.ids.shape
    # Behind a row's first column, only padding has position 0.
    padding = int((plan.rows.positions == 0).sum()) - rows
    unshared = len(distinct) * max(len(path.fed) for path in distinct)
    made = Pass(len(paths), rows, rows * tokens, padding, unshared, images)
    return made, _load(plan, made)


def _load(plan: Plan, made: Pass) -> Load:
    rows = plan.rows
    trunk = len(rows.ids) * rows.trunk * (rows.trunk + 1) // 2
    return Load(
        columns=made.tokens,
        queries=rows.queries.numel(),
        positions=len(plan.read),
        # Padding sees itself, for the softmax's sake.
        visible=trunk + int(rows.allowed.sum()) - made.padding,
        visible_last=int(rows.visible.sum()),
        images=made.images,
        encoded=made.images,
        mask=rows.allowed.numel() + rows.visible.numel(),
    )


Figures = TypeVar("Figures", Pass, Load)


def mean_of(figures: Sequence[Figures]) -> Figures:
    """Return the mean of each figure."""
    return type(figures[0])(*map(fmean, zip(*figures, strict=True)))


def times(figures: Figures, factor: float) -> Figures:
    """Return each figure times `factor`."""
    return type(figures)(*(factor * figure for figure in figures))


def spread(items: Sequence[T], count: int) -> list[T]:
    """Return at most `count` of `items`, evenly spread."""
    if len(items) <= count:
        return list(items)
    return [items[round(number * (len(items) - 1) / (count - 1))] for number in range(count)]
