"""Scores of one answer against one reference: closed, open, and the legacy scores of published tables."""
