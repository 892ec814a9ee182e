"""Vision-language models: load, encode prompts and images, generate."""

from medpref.backbones.base import Backbone
from medpref.backbones.llava import LlavaBackbone

__all__ = ["Backbone", "load_backbone"]

# Reads a folder that `Backbone.save` wrote. All families so far are LLaVAs.
load_backbone = LlavaBackbone.load
