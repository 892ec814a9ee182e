"""Wrong facts by rules: finds the visual facts of a text and changes one of them."""

from medpref.pairs.edits.editing import edit, find_facts
from medpref.pairs.edits.fact import Alternative, Edit, Fact
from medpref.pairs.edits.kinds import ERROR_KINDS, MEDHEVAL_KINDS, error_kinds

__all__ = [
    "ERROR_KINDS",
    "MEDHEVAL_KINDS",
    "Alternative",
    "Edit",
    "Fact",
    "edit",
    "error_kinds",
    "find_facts",
]
