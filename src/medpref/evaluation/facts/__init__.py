"""Atomic facts and a judge: what of a reference an answer says, leaves out and contradicts."""

from medpref.evaluation.facts.answers import FactCase, score_facts
from medpref.evaluation.facts.files import FactRow, read_facts, read_texts
from medpref.evaluation.facts.judges import Item, Judge, Judgement
from medpref.evaluation.facts.judging import judge_items, make_items
from medpref.evaluation.facts.labels import Label, UnreadableError
from medpref.evaluation.facts.replies import read_labels, write_labels

__all__ = [
    "FactCase",
    "FactRow",
    "Item",
    "Judge",
    "Judgement",
    "Label",
    "UnreadableError",
    "judge_items",
    "make_items",
    "read_facts",
    "read_labels",
    "read_texts",
    "score_facts",
    "write_labels",
]
