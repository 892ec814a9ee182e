"""The conditions under which a task is asked: one file for each idea of what looking would change."""

from medpref.evaluation.conditions import mirrored as mirrored
from medpref.evaluation.conditions import noised as noised
from medpref.evaluation.conditions import plain as plain
from medpref.evaluation.conditions import rephrased as rephrased
from medpref.evaluation.conditions import shuffled as shuffled
from medpref.evaluation.conditions.base import Condition, ConditionContext, conditions

__all__ = ["Condition", "ConditionContext", "conditions"]
