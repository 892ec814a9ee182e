"""Checkpoints from the layout of LLaVA-Med and HuatuoGPT-Vision to plain Hugging Face folders, and back."""

from medpref.conversion.convert import convert_checkpoint
from medpref.conversion.to_original import restore_original

__all__ = ["convert_checkpoint", "restore_original"]
