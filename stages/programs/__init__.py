"""What runs as a process of its own and is no stage: `python -m stages.programs.NAME`."""
