"""NLP tasks, a folder each, whose files are the records of stages/tasks/contract.py."""

TASKS = {
    "image_text_matching": "stages.tasks.image_text_matching",
    "multilabel_classification": "stages.tasks.multilabel_classification",
    "question_answering": "stages.tasks.question_answering",
    "regression": "stages.tasks.regression",
    "sentence_similarity": "stages.tasks.sentence_similarity",
    "text2text_generation": "stages.tasks.text2text_generation",
    "text_classification": "stages.tasks.text_classification",
    "text_generation": "stages.tasks.text_generation",
    "token_classification": "stages.tasks.token_classification",
}
FORMERLY = {
    "": "text_classification",
    "sequence_classification": "text_classification",
}
"""What earlier versions called a task, in params.yaml and in models' folders; "" where they named none: it was the only
one."""
