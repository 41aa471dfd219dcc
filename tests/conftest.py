"""What several tests share: a tiny corpus, tiny models, and a project of its own to run them in."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import warm_python
import yaml
from skips import pytest_addoption, pytest_sessionfinish, pytest_terminal_summary  # noqa: F401

if TYPE_CHECKING:
    from stages.core.params.file import Params
    from stages.core.paths import Paths

# Where a shell started this in the background, it and all its children would be deaf to these.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

os.environ.update(DO_NOT_TRACK="1", GX_ANALYTICS_ENABLED="false", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")


def pytest_configure(config: pytest.Config) -> None:
    if getattr(config.option, "numprocesses", None) and not os.environ.get("PYTEST_XDIST_WORKER"):
        warm_python.start_for_workers()


LONGEST = (  # each worker takes the next file that none has: what takes long shall not begin last
    "test_end_to_end", "test_retrain", "test_toy_task", "test_projects", "test_serving", "test_training", "test_engine",
    "test_launching", "test_reproduce_flow", "test_stopping", "test_review", "test_releases", "test_pretrained",
    "test_quantization",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))


REPOSITORY = Path(__file__).resolve().parent.parent
CODE = ("stages", "flows", "dvc.yaml", "params.yaml", "constraints.txt", ".dvcignore", ".gitignore")
TOPICS = {
    "sea": ["ship", "harbour", "wave", "sailor", "anchor", "tide", "captain", "island", "storm", "deck"],
    "kitchen": ["bread", "oven", "butter", "pepper", "knife", "recipe", "flour", "sugar", "dinner", "spoon"],
    "forest": ["tree", "squirrel", "moss", "path", "owl", "branch", "leaf", "shadow", "river", "bear"],
}
UNUSED = ("zebra", "violin", "desert", "rocket")  # words of the tokenizer that no text has


def write_corpus(path: Path, *, rows_per_label: int = 60, labels: tuple[str, ...] = tuple(TOPICS)) -> Path:
    """A csv of short texts about a few topics, with an exact duplicate and a row that is too short."""
    draw = random.Random(7)
    filler = ["the", "a", "with", "near", "under", "over", "some", "every", "old", "small", "slow", "bright"]
    rows = []
    for label in labels:
        for _ in range(rows_per_label):
            words = draw.sample(TOPICS[label], 3) + draw.sample(filler, 4)
            draw.shuffle(words)
            rows.append((" ".join(words) + ".", label))
    draw.shuffle(rows)
    rows += [rows[0], ("o", labels[0])]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "topic"), *rows])
    return path


def write_tiny_model(folder: Path, *, kind: str = "bert", layers: int = 3, wide: bool = False) -> Path:
    """A random model of the family `kind`, hidden width 32, with a WordPiece tokenizer over the corpus's words.

    `wide`: some of its matrices have over 100,000 weights, which ZeRO-3 then really takes apart.
    """
    import torch
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece
    from transformers import (
        AlbertConfig,
        AutoModel,
        BertConfig,
        DistilBertConfig,
        MPNetConfig,
        PreTrainedTokenizerFast,
        RobertaConfig,
    )

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,-'"
    fillers = {"the", "a", "with", "near", "under", "over", "some"}
    words = sorted(fillers.union(*TOPICS.values()))
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters), *words]
    tokens = list(dict.fromkeys([*tokens, *UNUSED]))
    tokenizer = Tokenizer(WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    size: dict[str, Any] = {"vocab_size": len(tokens), "max_position_embeddings": 80, "pad_token_id": 0}
    usual = {
        **size,
        "hidden_size": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 4096 if wide else 64,
    }
    usual |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = {
        "bert": lambda: BertConfig(**usual),
        "roberta": lambda: RobertaConfig(**usual),
        "mpnet": lambda: MPNetConfig(**usual),
        "albert": lambda: AlbertConfig(**usual, embedding_size=16),
        "distilbert": lambda: DistilBertConfig(
            **size, dim=32, n_layers=layers, n_heads=4, hidden_dim=64, dropout=0.0, attention_dropout=0.0
        ),
    }[kind]()
    torch.manual_seed(11)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


def edit_params(project: Path, **changes: Any) -> None:
    """Set parameters by their dotted names, with `__` for the dot: finetune__epochs=1."""
    path = project / "params.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, value in changes.items():
        *sections, key = name.split("__")
        section = values
        for part in sections:
            section = section[part]
        section[key] = value
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def tiny_params(paths: Paths, tiny: Path, **changes: Any) -> Params:
    """The project's params.yaml at `paths`, with the model in `tiny`, 12 tokens at most, and `changes`."""
    from stages.core.files import sha256
    from stages.core.params.file import load_params

    shutil.copyfile(REPOSITORY / "params.yaml", paths.params)
    changes = {"tokenize__max_tokens": 12, **changes}
    edit_params(
        paths.root, model__name=str(tiny), model__revision=None, model__sha256=sha256(tiny / "model.safetensors"),
        **changes,
    )  # fmt: skip
    return load_params(paths.params)


def make_project(folder: Path) -> Path:
    """A git and DVC repository with the project's code, the tiny corpus and the tiny model, ready for `dvc repro`."""
    folder.mkdir(parents=True)
    for name in CODE:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, folder / name)
    (folder / "metrics").mkdir()
    shutil.copyfile(REPOSITORY / "metrics/released_data.json", folder / "metrics/released_data.json")
    write_corpus(folder / "data/corpus.csv")
    edit_params(folder, ingest__source="files", ingest__path="data/corpus.csv", ingest__columns__label="topic")
    make_tiny(folder)
    init_repository(folder)
    run(folder, "git", "add", "-A")
    run(folder, "git", "add", "--force", "data/corpus.csv")
    run(folder, "git", "commit", "-q", "-m", "start")
    return folder


def make_tiny(folder: Path) -> None:
    """Give the project the tiny model in its folder `tiny`, which is made, and parameters of seconds."""
    write_tiny_model(folder / "tiny")
    edit_params(
        folder,
        model__name="./tiny", model__revision=None,
        model__sha256=hashlib.sha256((folder / "tiny/model.safetensors").read_bytes()).hexdigest(),
        tokenize__max_tokens=16, finetune__epochs=8, finetune__batch_size=16, finetune__encoder_learning_rate=5.0e-3,
        finetune__head_learning_rate=2.0e-2, finetune__freeze_embeddings=False, distill__epochs=4,
        distill__batch_size=16, distill__encoder_learning_rate=3.0e-3, distill__teacher_layers=[0, 2],
        prune__common_words=10, prune__epochs=3, prune__heads_kept=0.75, prune__feed_forward_kept=0.5,
        prune__encoder_learning_rate=3.0e-3,
        profile__rounds=1, profile__single_rows=10, profile__throughput_rows=20, profile__batch_size=8,
        profile__batch_sizes=[1, 8], profile__thread_counts=[1], evaluate__resamples=200, evaluate__perturbed_rows=10,
    )  # fmt: skip


@pytest.fixture
def begin_fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], Path]:
    """Begins a project of a params.yaml of the repository: the current folder from then on; pip looks in one alone."""

    def begin(params: str, index: Path) -> Path:
        root = tmp_path / "project"
        root.mkdir()
        shutil.copyfile(REPOSITORY / params, root / "params.yaml")
        (root / "dvc.yaml").write_text("stages: {}\n")
        monkeypatch.chdir(root)
        for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(index)), ("CONFIG_FILE", os.devnull)):
            monkeypatch.setenv(f"PIP_{name}", value)
        return root

    return begin


def init_repository(folder: Path) -> None:
    """Make `folder` a repository of git and of DVC, with nothing in it yet."""
    for command in (
        ["git", "init", "-q", "-b", "main"],
        ["git", "config", "user.email", "tests@localhost"],
        ["git", "config", "user.name", "tests"],
        ["dvc", "init", "-q"],
        ["dvc", "config", "core.analytics", "false"],
    ):
        run(folder, *command)


def read_terminal(keeper: int) -> bytes:
    """All that was written to a pseudo-terminal, whose other end is closed; a single read may bring a part of it."""
    found = b""
    with contextlib.suppress(OSError):  # as Linux says that there is no more
        while part := os.read(keeper, 65_536):
            found += part
    os.close(keeper)
    return found


def run(folder: Path, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`, with this Python first on the path: `python`, `dvc` and `winnow` are warm ones."""
    warm = warm_python.bin_folder()
    path = os.pathsep.join([warm, str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHON_EXEC": f"{warm}/python", **environment}  # torch elastic's
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


@pytest.fixture(scope="module", autouse=True)
def _environment_stays() -> Iterator[None]:
    """What a file of tests leaves behind in the environment would start every later child cold."""
    before = dict(os.environ)
    yield
    assert set(warm_python.what_differs(before, dict(os.environ))) <= {*warm_python.SET_BY_ENGINE}


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """tiny_models(kind): the folder of a tiny random model, made once."""
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = write_tiny_model(tmp_path_factory.mktemp(f"tiny-{kind}"), kind=kind)
        return made[kind]

    return get


@pytest.fixture
def warm_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flows that run in this process start DVC and stages warm: for tests that end none of these processes."""
    from flows.dvc import command

    warm = str(Path(warm_python.bin_folder()) / "python")
    monkeypatch.setattr(sys, "executable", warm)
    monkeypatch.setattr(command, "DVC", [warm, *command.DVC[1:]])
