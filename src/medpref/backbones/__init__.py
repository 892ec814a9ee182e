"""Vision-language models: load, encode prompts and images, generate."""

from medpref.backbones import tiny_start as tiny_start
from medpref.backbones.base import Backbone, BackboneFamily, StartContext, backbones
from medpref.backbones.llava import LlavaBackbone

__all__ = ["Backbone", "BackboneFamily", "StartContext", "backbones", "load_backbone"]

# Reads a folder that `Backbone.save` wrote. All families so far are LLaVAs.
load_backbone = LlavaBackbone.load
