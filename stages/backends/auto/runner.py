"""Placeholder for dvc.yaml, in a runner's place: no model opens as `auto`, as model.json names the chosen backend."""
