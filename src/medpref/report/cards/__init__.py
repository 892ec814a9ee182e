"""Model card, data card and citation of a study, filled from its run alone."""

from medpref.report.cards.write import CARDS, make_cards, write_cards

__all__ = ["CARDS", "make_cards", "write_cards"]
