"""The light install: what opens a sealed folder and answers, without what makes one. docs/deployment.md."""
