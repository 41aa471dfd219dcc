"""Measurements beside the graph: it run again with other seeds or parameters, and a language model asked by prompts."""
