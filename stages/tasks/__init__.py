"""NLP tasks, a folder each, whose files are the records of stages/tasks/contract.py."""

TASKS = {
    "text_classification": "stages.tasks.text_classification",
    "token_classification": "stages.tasks.token_classification",
}
FORMERLY = {"sequence_classification": "text_classification"}  # names in the folders of earlier models
