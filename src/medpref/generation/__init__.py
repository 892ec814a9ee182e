"""Answers from models: engines behind one interface, asked incrementally so that a killed run goes on."""

from medpref.generation import local as local
from medpref.generation import openai as openai
from medpref.generation import vllm as vllm
from medpref.generation.engine import Engine, engines

__all__ = ["Engine", "engines"]
