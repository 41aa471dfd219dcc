"""Parts of `prune`: finding the heads, neurons and tokens that a model can do without, and cutting them out."""
