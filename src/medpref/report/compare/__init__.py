"""Several studies side by side: the same methods by the same figures."""

from medpref.report.compare.page import write_comparison
from medpref.report.compare.studies import Study, read_studies
from medpref.report.compare.terminal import print_comparison

__all__ = ["Study", "print_comparison", "read_studies", "write_comparison"]
