"""The graph of dvc.yaml and its storage: what has run, what would run, and what DVC keeps."""
