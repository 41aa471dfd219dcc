"""Tokenizers that are trained here, and statistics of token rows."""
