"""The images as they are, and no image at all."""

from collections.abc import Sequence

from medpref.evaluation.conditions.base import Condition, ConditionContext, conditions
from medpref.pairs.sample import Sample


def as_they_are(samples: Sequence[Sample], context: ConditionContext) -> list[Sample]:
    """Return the samples."""
    return list(samples)


conditions.add("normal", Condition("the images as they are", as_they_are, control=None))
conditions.add("blank", Condition("a uniform image in the images' mean colour", as_they_are, blank=True))
