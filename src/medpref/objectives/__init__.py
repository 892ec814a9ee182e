"""Preference objectives: small pure functions from the log-probs of named cells to a loss for each pair."""

from medpref.objectives import minimal_pairs as minimal_pairs
from medpref.objectives import preference as preference
from medpref.objectives import supervised as supervised
from medpref.objectives import variants as variants
from medpref.objectives.base import Objective, Scores, objectives

__all__ = ["Objective", "Scores", "objectives"]
