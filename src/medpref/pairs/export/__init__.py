"""Pairs as folders for others: TRL's, LLaVA's, Hugging Face's and medpref's own format, with a data card."""

from medpref.pairs.export import llava as llava
from medpref.pairs.export import own as own
from medpref.pairs.export import parquet as parquet
from medpref.pairs.export import trl as trl
from medpref.pairs.export.base import ExportFormat, export_formats
from medpref.pairs.export.parquet import unpack_images
from medpref.pairs.export.run import Exported, check_licences, export_pairs

__all__ = [
    "ExportFormat",
    "Exported",
    "check_licences",
    "export_formats",
    "export_pairs",
    "unpack_images",
]
