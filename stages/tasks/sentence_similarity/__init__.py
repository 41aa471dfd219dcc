"""Sentence similarity: texts as vectors, near to each other where the texts are similar, or belong together."""
