"""What one training step of the default encoder costs, by choice: dropout, attention, batch, precision, embeddings.

    python benchmarks/encoder_step.py [--rounds 3]

Each choice differs from the first line in one thing. All run in turn in one process, several rounds; the ratio is
that of the medians. Writes benchmarks/encoder_step.json. The choices behind the defaults in
params.yaml (encoder dropout, frozen embeddings, fp32 on a CPU that is slow in bf16) can be checked with it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import record
import torch
from transformers import AutoModel

from stages.core.params.file import load_params
from stages.models.pretrained import locate

ROOT = Path(__file__).resolve().parent.parent
STEPS, WARM_UP = 8, 2


@dataclass(frozen=True)
class Choice:
    dropout: float = 0.0
    attention: str = "eager"
    rows: int = 32
    tokens: int = 20
    frozen_embeddings: bool = True
    bf16: bool = False


DEFAULT = Choice()
CHOICES = {
    "as in params.yaml": DEFAULT,
    "dropout 0.1 in the encoder": replace(DEFAULT, dropout=0.1),
    "sdpa attention": replace(DEFAULT, attention="sdpa"),
    "batches of 64": replace(DEFAULT, rows=64),
    "embeddings trained too": replace(DEFAULT, frozen_embeddings=False),
    "bf16 autocast": replace(DEFAULT, bf16=True),
}


def tokens_per_second(folder: Path, choice: Choice) -> float:
    """Forward, backward and a fused AdamW step on random tokens."""
    torch.manual_seed(0)
    model = AutoModel.from_pretrained(
        folder,
        attn_implementation=choice.attention,
        hidden_dropout_prob=choice.dropout,
        attention_probs_dropout_prob=choice.dropout,
        use_safetensors=True,
    ).train()
    if choice.frozen_embeddings:
        model.get_input_embeddings().requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=True)
    input_ids = torch.randint(1000, 20_000, (choice.rows, choice.tokens))
    mask = torch.ones_like(input_ids)
    for step in range(WARM_UP + STEPS):
        if step == WARM_UP:
            started = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=choice.bf16):
            hidden = model(input_ids=input_ids, attention_mask=mask).last_hidden_state
        hidden.float().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return STEPS * choice.rows * choice.tokens / (time.perf_counter() - started)


def features() -> str:
    """Those of the processor that matter here, and the threads."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    found = [feature for feature in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {feature}" in text]
    return f"{torch.get_num_threads()} threads, {' '.join(found)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    folder = locate(load_params(ROOT / "params.yaml").model)
    measured: dict[str, list[float]] = {name: [] for name in CHOICES}
    for _ in range(rounds):
        for name, choice in CHOICES.items():
            measured[name].append(tokens_per_second(folder, choice))
    first = statistics.median(measured[next(iter(CHOICES))])
    table = {
        name: {"tokens_per_s": round(statistics.median(values)), "ratio": round(statistics.median(values) / first, 3)}
        for name, values in measured.items()
    }
    for name, row in table.items():
        print(f"{name:28} {row['tokens_per_s']:7,} tokens/s  {row['ratio']:.2f}x")
    result = {"features": features(), "torch": torch.__version__, "rounds": rounds, "choices": table}
    record.write(ROOT / "benchmarks/encoder_step.json", result)


if __name__ == "__main__":
    main()
