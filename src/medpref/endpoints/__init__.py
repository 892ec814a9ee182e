"""Endpoints that a user named: posting JSON to them, chat completions, and how fast to ask."""
