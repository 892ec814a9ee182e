"""What a study found, as one HTML page and as a table in the terminal, from its logs alone."""

from medpref.report.images import Images
from medpref.report.page import write_report
from medpref.report.terminal import print_table
from medpref.report.why.files import write_figures

__all__ = ["Images", "print_table", "write_figures", "write_report"]
