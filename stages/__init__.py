"""The pipeline's stages.

Importing this package, before any library, turns off telemetry and progress bars in logs, limits libraries to one pool
of threads, and guards the outs of a stage that ends before it has begun.
"""

import os
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

if sys.argv[:1] == ["-m"]:  # a stage is being started: Python loads the package of the module that it is to run
    from stages.core import guard

    guard.begin()
