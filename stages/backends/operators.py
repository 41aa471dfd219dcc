"""Backends that have no operator for a family of models."""

from __future__ import annotations

from pathlib import Path

from stages.backends import QUANTIZERS
from stages.core.model_folder import describe
from stages.models import LACKS


def refuse_without_operators(source: Path, backend: str) -> None:
    """Raise ValueError, with the backends allowed, where `backend` lacks what the model in `source` computes with."""
    family = describe(source).get("family", "")
    if backend not in LACKS.get(family, ()):
        return
    allowed = [name for name in sorted(QUANTIZERS) if name not in LACKS[family]]
    raise ValueError(
        f"params.yaml: quantize.backend is '{backend}', and distill.family '{family}'. Allowed for it:"
        f" {', '.join(allowed)}."
    )
