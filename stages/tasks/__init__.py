"""NLP tasks, a folder each, whose files are the records of stages/tasks/contract.py."""

TASKS = {
    "text_classification": "stages.tasks.text_classification",
}
