"""What differs between NLP tasks: a `Task` (see stages/core/contracts.py) in a file of its own here."""

TASKS = {
    "sequence_classification": "stages.tasks.sequence_classification:TASK",
}
