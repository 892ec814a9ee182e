"""Metrics of radiology reports that need a model or a program of their own, each in a process of its own."""

from medpref.evaluation.radiology import table as table
from medpref.evaluation.radiology.base import Metric, Unscored, metrics
from medpref.evaluation.radiology.run import score_reports

__all__ = ["Metric", "Unscored", "metrics", "score_reports"]
