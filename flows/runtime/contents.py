"""What the light install holds: files of this repository, as they are, and the packages that they need.

winnow.py, winnow predict, winnow app ── import ── stages/backends/runners.py ── ...
                                    └─ load by name ── runners, rules, what answers need of each task
"""

from __future__ import annotations

from pathlib import Path

from flows.dvc.code_deps import RULES, Code
from stages.tasks import TASKS

CODE = ("flows", "stages", "winnow")
START = ("winnow.py", "flows/runtime/command.py")
BEYOND = ("flows/cli/commands.py",)  # the whole command, which only the whole of Winnow has
# Loaded by name. Other backends need torch (pytorch, torchao_int8), or scikit-learn (linear).
RUNNERS = ("onnxruntime_int8", "openvino_int8", "static")
PARTS = ("answers", "encoding", "settings")
DATA = ("flows/app/templates",)
# The packages that the files import, by the extra that brings them; "" is the install itself.
NEEDS = {
    "": ("click", "markdown-it-py", "numpy", "onnxruntime", "regex", "safetensors", "tokenizers"),
    "app": ("fastapi", "jinja2", "prometheus_client", "starlette", "uvicorn"),
    "images": ("pillow", "pyarrow", "pydantic"),
    "files": ("charset-normalizer", "fsspec", "pyarrow", "pydantic", "ruamel.yaml", "tqdm"),
    "openvino": ("openvino",),
}
# Imported as well, inside functions that no answer calls: those that measure, and those with which a stage starts.
UNREACHED = ("dvc", "sacrebleu", "scikit-learn", "scipy")
# What a package asks for, and no answer needs: tokenizers takes it for `from_pretrained` alone, with 20 MB.
UNUSED = ("huggingface-hub",)


def code(root: Path) -> list[Path]:
    """The files of the light install beneath `root`, sorted; those of packages around them and data included."""
    loaded = [
        *(f"backends/{name}/runner.py" for name in RUNNERS),
        *RULES,
        *(f"tasks/{task}/{part}.py" for task in TASKS for part in PARTS),
    ]
    start = [root / name for name in (*START, *(f"stages/{name}" for name in loaded))]
    found = Code(root, CODE).reached(*start, beyond=[root / name for name in BEYOND])
    found |= {folder / "__init__.py" for path in found for folder in path.parents if root in folder.parents}
    found |= {file for folder in DATA for file in (root / folder).iterdir()}
    return sorted(path for path in found if path.is_file())
