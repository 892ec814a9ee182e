"""The conditions under which a task is asked: one file for each idea of what looking would change."""

from medpref.evaluation.conditions import plain as plain
from medpref.evaluation.conditions.base import Condition, ConditionContext, conditions

__all__ = ["Condition", "ConditionContext", "conditions"]
