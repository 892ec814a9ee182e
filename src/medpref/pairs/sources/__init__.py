"""Data sources: each writes a folder with pairs to train on and samples to be asked."""

from medpref.pairs.sources import files as files
from medpref.pairs.sources import iu_xray as iu_xray
from medpref.pairs.sources import llava_med as llava_med
from medpref.pairs.sources import mimic_cxr as mimic_cxr
from medpref.pairs.sources import pathvqa as pathvqa
from medpref.pairs.sources import phantoms as phantoms
from medpref.pairs.sources import pmc_vqa as pmc_vqa
from medpref.pairs.sources import pubmedvision as pubmedvision
from medpref.pairs.sources import release as release
from medpref.pairs.sources import replica as replica
from medpref.pairs.sources import review as review
from medpref.pairs.sources import slake as slake
from medpref.pairs.sources import table as table
from medpref.pairs.sources import vqa_rad as vqa_rad
from medpref.pairs.sources.base import DataSet, Source, read_data_set, sources

__all__ = ["DataSet", "Source", "read_data_set", "sources"]
