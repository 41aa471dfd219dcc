"""Answers of a language model by prompts: what a prompt holds, how likely each label's words are after it."""
