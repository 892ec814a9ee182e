"""The filter for pairs whose sides are told apart by style."""

from collections.abc import Sequence

from pydantic import Field

from medpref.errors import InputError
from medpref.files import write_json
from medpref.pairs.leaks import Leak, measure_leak
from medpref.pairs.pair import Pair
from medpref.pairs.recipes.base import Recipe, RecipeContext
from medpref.pairs.recipes.filters.base import FilterSettings, filter_recipes, leave_out_faulty

REPORT = "leak.json"


class LeakSettings(FilterSettings):
    """What is done about a leak.

    Attributes:
        threshold: leave out pairs whose sides a classifier that sees neither image nor question puts in the
            right order with a higher probability; without one the leak is only measured.
    """

    threshold: float | None = Field(None, gt=0.5, lt=1)


def leak(pairs: Sequence[Pair], settings: LeakSettings, context: RecipeContext) -> list[Pair]:
    """Measure how well style and words alone tell the sides, and leave out the pairs that show it most.

    What was measured goes to ``leak.json``. The probabilities are those of classifiers that did not see the
    pair's image in training. Pairs that were not measured, beyond `medpref.pairs.leaks.MOST_PAIRS`, are kept.

    Of too few images ``leak.json`` says so.

    Raises:
        InputError: the pairs have too few images, and there is a threshold.
    """
    try:
        found = measure_leak(pairs, seed=context.seed)
    except InputError as error:
        if settings.threshold is not None:
            raise
        write_json(context.folder / REPORT, {"not_measured": error.what})
        return list(pairs)
    write_json(context.folder / REPORT, leak_row(found))
    limit = 1.0 if settings.threshold is None else settings.threshold

    def fault(pair: Pair) -> str | None:
        sure = found.confidence.get(pair.id, 0.0)
        return f"told apart without image and question (p = {sure:.3f})" if sure > limit else None

    return leave_out_faulty(pairs, "leak", fault, context)


def leak_row(found: Leak) -> dict[str, object]:
    """Return what was measured as a JSON object, without the single pairs."""
    return {
        "auc": found.auc,
        "low": found.low,
        "high": found.high,
        "measured": found.measured,
        "pairs": found.pairs,
        "groups": found.groups,
        "telling": [{**trait._asdict(), "side": str(trait.side)} for trait in found.telling],
    }


filter_recipes.add("leak", Recipe("style alone does not tell chosen from rejected", LeakSettings, leak))
