"""Tokenizers that are trained here, and what is counted of token rows."""
