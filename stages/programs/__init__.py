"""Programs that run as processes of their own without being stages: `python -m stages.programs.NAME`."""
