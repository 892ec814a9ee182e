"""A study in one file, from which another machine can verify every number without its models."""

from medpref.archive.pack import pack
from medpref.archive.verify import Check, verify

__all__ = ["Check", "pack", "verify"]
