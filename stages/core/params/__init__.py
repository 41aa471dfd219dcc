"""params.yaml: a file a section, all of them together in everything.py, and mistakes in words."""
