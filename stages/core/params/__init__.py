"""params.yaml: one file for each section, all of them together in everything.py, and error messages."""
