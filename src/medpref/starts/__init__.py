"""How the backbone that a study starts from comes into being: loaded from a folder, or made and warmed up."""

from medpref.starts import pretrained as pretrained
from medpref.starts import tiny as tiny
from medpref.starts.base import BackboneFamily, StartContext, backbones

__all__ = ["BackboneFamily", "StartContext", "backbones"]
