"""Question answering: the passage of a text that answers a question, or that it holds no answer."""
