"""Data sources: each writes a folder with pairs to train on and samples to be asked."""

from medpref.pairs.sources import files as files
from medpref.pairs.sources import phantoms as phantoms
from medpref.pairs.sources import vqa_rad as vqa_rad
from medpref.pairs.sources.base import DataSet, Source, read_data_set, sources

__all__ = ["DataSet", "Source", "read_data_set", "sources"]
