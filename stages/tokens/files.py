"""A tokenizer's folder: what of it goes into the stages after `tokenize`."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from stages.core.files import publish, write_json

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
OF_THE_MACHINE = ("is_local", "local_files_only", "name_or_path")  # where the tokenizer happened to lie


def write_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path, pieces: list[list[int]] | None) -> None:
    """tokenizer.json and tokenizer_config.json, without padding, truncation or a trace of where they lay; and what the
    tokens of a trained one are made of."""
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    with publish(folder) as draft:
        tokenizer.save_pretrained(draft)
        for file in draft.iterdir():
            if file.name not in TOKENIZER_FILES:
                file.unlink()
        config = json.loads((draft / "tokenizer_config.json").read_text(encoding="utf-8"))
        kept = {key: value for key, value in config.items() if key not in OF_THE_MACHINE}
        write_json(draft / "tokenizer_config.json", kept)
        if pieces is not None:
            (draft / "pieces.json").write_text(json.dumps(pieces), encoding="utf-8")
