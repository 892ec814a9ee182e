"""Judges by name: rules, a local classifier, a local generative model, and models behind endpoints."""

from medpref.evaluation.facts.judges import local as local
from medpref.evaluation.facts.judges import nli as nli
from medpref.evaluation.facts.judges import openai as openai
from medpref.evaluation.facts.judges import rules as rules
from medpref.evaluation.facts.judges.base import Item, Judge, JudgeKind, Judgement, judges

__all__ = ["Item", "Judge", "JudgeKind", "Judgement", "judges"]
