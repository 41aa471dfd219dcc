"""The pipeline's stages.

Importing this package, before any library, turns off telemetry and progress bars in logs, limits libraries to one pool
of threads, and guards the outs of a stage that ends before it has begun.
"""

import os
import re
import sys

for _name, _value in {
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "DVC_STUDIO_OFFLINE": "true",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # else some matrix products on a GPU differ from run to run
}.items():
    os.environ.setdefault(_name, _value)


def _is_started() -> bool:
    """Whether Python loads this package because it is to run a module of it: `python -m stages.NAME`."""
    if sys.argv[:1] != ["-m"]:  # as it is until the module is found
        return False
    # PYTHON -m NAME ARGUMENTS. Older ones than 3.10 do not tell it, and the guard ends those.
    command = getattr(sys, "orig_argv", None)
    return command is None or re.match(r"(-\w*m)?stages\.", command[-len(sys.argv)]) is not None


if _is_started():
    from stages.core import guard

    guard.begin()
