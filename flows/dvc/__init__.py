"""The graph of dvc.yaml and its storage: its state and plan, DVC's cache and remotes, checkouts that share them."""
