"""A page to look at pairs: what they consist of, what tells their sides apart, and examples."""

from medpref.report.pairs.page import write_pair_page

__all__ = ["write_pair_page"]
