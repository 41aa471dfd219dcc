"""Text generation: a model learns the texts themselves, and goes on with a prompt."""
