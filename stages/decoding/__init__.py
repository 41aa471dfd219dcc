"""Text written token by token, with any backend: greedy, beam search, sampling. It needs numpy alone.

    prompts ── stepper.begin ──> logits ── choice of a token ──> text, piece by piece
                    ^── stepper.step (the cache's rows in a new order, a token each) ──┘

R sequences that run together, V tokens of the vocabulary, K beams.
"""
