"""Text to text: a target is written from a source, as a translation or a summary."""
