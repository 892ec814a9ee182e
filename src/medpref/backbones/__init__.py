"""Vision-language models behind one small interface: load, encode, generate, fingerprint."""

from medpref.backbones import fallback as fallback
from medpref.backbones import gemma3 as gemma3
from medpref.backbones import llava as llava
from medpref.backbones import original as original
from medpref.backbones import qwen2_vl as qwen2_vl
from medpref.backbones import qwen3_vl as qwen3_vl
from medpref.backbones.base import Backbone
from medpref.backbones.families import load_backbone, model_families

__all__ = ["Backbone", "load_backbone", "model_families"]
