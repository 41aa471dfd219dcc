"""What `prune` stands on: which heads, neurons and tokens a model can do without, and cutting them out."""
