"""A project is a folder with params.yaml, dvc.yaml, metrics/ and a DVC of its own; here one is started."""
