"""The light install: what its wheel holds, that it answers as the whole of Winnow does, and what it does not load."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import bare_python
import pytest
from app_fixtures import App, started
from conftest import REPOSITORY
from flow_fixtures import write_word_model
from runtime_fixtures import ASKED, TEXTS, alone, answered, light_python, write_int8, write_static
from test_images import RED, encoded, plain

import winnow
from flows import __version__
from flows.answering.rounded import rounded
from flows.dvc.code_deps import imports
from flows.running.packages import canonical
from flows.runtime.build import NAME, PYTHONS, build, closed
from flows.runtime.contents import CODE, NEEDS, RUNNERS, UNREACHED, UNUSED, code
from stages.backends import RUNNERS as BACKENDS
from stages.tasks import TASKS

WHEEL = f"winnow_runtime-{__version__}-py3-none-any.whl"
MOST_MB = 150
# Of the whole of Winnow, and nothing that an answer needs.
HEAVY = {
    "torch", "transformers", "dvc", "prefect", "deepspeed", "datasets", "daft", "great_expectations", "scipy",
    "sklearn", "pandas", "pyarrow", "pydantic", "onnx", "huggingface_hub",
}  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    return light_python(tmp_path_factory.mktemp("light") / "venv", wheel)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]) -> Callable[[str], Path]:
    """folders(task): a sealed int8 folder, made once."""
    made: dict[str, Path] = {}

    def get(task: str) -> Path:
        if task not in made:
            made[task] = write_int8(task, tmp_path_factory.mktemp(task) / "quantized", tiny_models("bert"))
        return made[task]

    return get


def third_party() -> Iterator[tuple[str, Path]]:
    """Each module beyond Python's own and Winnow's that the code of the light install imports, with the file."""
    for path in code(REPOSITORY):
        if path.suffix == ".py":
            tops = {name.partition(".")[0] for name in imports(path)}
            yield from ((name, path) for name in tops - {*CODE} - sys.stdlib_module_names)


def test_all_that_the_code_imports_is_needed_or_never_reached() -> None:
    of_modules = metadata.packages_distributions()
    imported = {name: {*map(canonical, of_modules[name])} for name, _ in third_party()}
    named = {canonical(name) for names in (*NEEDS.values(), UNREACHED) for name in names}
    assert {name for name, packages in imported.items() if not packages & named} == set()
    assert named - set().union(*imported.values()) == set()
    assert {*RUNNERS} <= BACKENDS.keys()


def test_the_wheel_has_the_same_bytes_wherever_and_whenever_it_is_made(wheel: Path, tmp_path: Path) -> None:
    for name in ("flows", "stages"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("winnow.py", "LICENSE", "constraints.txt"):
        shutil.copyfile(REPOSITORY / name, tmp_path / name)  # with the time of now
    (tmp_path / "winnow.py").chmod(0o600)
    again = build(tmp_path / "dist", tmp_path)
    assert again.name == wheel.name == WHEEL
    assert again.read_bytes() == wheel.read_bytes()


def test_the_wheel_holds_the_repositorys_own_files_and_none_that_makes_models(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
        about = archive.read(f"winnow_runtime-{__version__}.dist-info/METADATA").decode()
    assert held == {path.relative_to(REPOSITORY).as_posix(): path.read_bytes() for path in code(REPOSITORY)}
    assert not [name for name in held if name.startswith(("stages/models", "stages/training", "flows/dvc"))]
    needs = re.findall(r"^Requires-Dist: ([\w.-]+)==[\d.]+$", about, re.M)
    assert sorted(map(canonical, needs)) == sorted(map(canonical, NEEDS[""]))


def test_the_lists_of_packages_are_closed_and_pinned_as_the_repository_pins_them(wheel: Path) -> None:
    pinned = (REPOSITORY / "constraints.txt").read_text().splitlines()
    for extra, names in NEEDS.items():
        listed = wheel.with_name(f"requirements{f'-{extra}' if extra else ''}.txt").read_text().splitlines()[1:]
        assert {*listed} <= {*pinned}
        found = {canonical(line.partition("==")[0]) for line in listed}
        assert found == closed({*NEEDS[""], *names})
        assert not found & {*UNUSED}
        assert not {"torch", "transformers", "dvc", "prefect"} & found


@pytest.mark.parametrize("task", ASKED)
def test_a_sealed_folder_of_each_task_answers_as_with_the_whole_of_winnow(
    task: str, folders: Callable[[str], Path], light: Path, tmp_path: Path
) -> None:
    folder, asked = folders(task), ASKED[task]
    answers, modules = answered(light, folder, asked, cwd=tmp_path)
    whole = winnow.load(folder, threads=1)(list(asked))
    assert answers == json.loads(json.dumps(whole))
    assert len({json.dumps(one) for one in answers}) > 1, "they say something of each text"
    assert not modules & HEAVY


def test_a_static_model_answers_from_the_light_install(
    light: Path, tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = write_static(tmp_path / "static", tiny_models("bert"))
    answers, modules = answered(light, folder, TEXTS, cwd=tmp_path)
    assert answers == json.loads(json.dumps(winnow.load(folder, threads=1)(TEXTS)))
    assert len({label for label, _ in answers}) > 1
    assert not modules & HEAVY


def test_a_folder_of_openvino_opens_with_its_extra_and_says_so_without(
    light: Path, wheel: Path, tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = write_int8("text_classification", tmp_path / "quantized", tiny_models("bert"), "openvino_int8")
    python = light_python(tmp_path / "venv", wheel, "openvino")
    answers, modules = answered(python, folder, TEXTS, cwd=tmp_path)
    assert answers == json.loads(json.dumps(winnow.load(folder, threads=1)(TEXTS)))
    assert not modules & {"torch", "transformers", "nncf", "scipy"}
    told = command(light, "predict", "--model", str(folder), "ship", cwd=tmp_path).stderr
    assert "is 'openvino_int8', which needs the package 'openvino': it is not installed" in told


def test_a_folder_that_only_the_whole_of_winnow_opens_is_told_with_the_way_out(light: Path, tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    folder = write_word_model(tmp_path / "words")
    done = subprocess.run(
        [light, "-c", f"from winnow import load; load({str(folder)!r})"],
        cwd=tmp_path, env=alone(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert re.search(
        rf"ValueError: {re.escape(str(folder))}: its backend is 'linear', which the light install does not open \(it"
        r" has no stages\.backends\.linear\)\. Take the folder `quantized`, or install the whole of Winnow: docs/depl",
        done.stderr,
    )


def test_how_each_task_answers_is_imported_without_what_only_measuring_needs(light: Path, tmp_path: Path) -> None:
    names = [f"stages.tasks.{task}.answers" for task in TASKS]
    done = subprocess.run(
        [light, "-c", f"import {', '.join(names)}"], cwd=tmp_path, env=alone(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_load_is_imported_from_any_folder_also_beside_a_clone(
    light: Path, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    """A clone has winnow.py, stages and flows of its own: within it those are taken, beside it the installed ones."""
    clone = tmp_path / "winnow"
    clone.mkdir()
    shutil.copyfile(REPOSITORY / "winnow.py", clone / "winnow.py")
    for name in ("flows", "stages"):
        shutil.copytree(REPOSITORY / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    site = next((light.parents[1] / "lib").glob("python*/site-packages"))
    folder = folders("text_classification")
    for cwd, expected in ((tmp_path, site), (clone, clone), (Path("/"), site)):
        found = "import sys, winnow, stages; winnow.load(sys.argv[1]); print(winnow.__file__, stages.__file__)"
        done = subprocess.run(
            [light, "-c", found, str(folder)], cwd=cwd, env=alone(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [str(expected / "winnow.py"), str(expected / "stages/__init__.py")]


def command(light: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [light.with_name("winnow"), *arguments], cwd=cwd, env=alone(), capture_output=True, text=True, check=False
    )


def test_the_light_command_predicts_and_says_what_it_leaves_out(
    light: Path, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = folders("text_classification")
    assert command(light, "--version", cwd=tmp_path).stdout == f"winnow {__version__} (light)\n"
    done = command(light, "predict", "--json", "--threads", "1", "--model", str(folder), *TEXTS[:2], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    labels = [json.loads(line)["label"] for line in done.stdout.splitlines()]
    assert labels == [answer.label for answer in winnow.load(folder, threads=1)(TEXTS[:2])]
    (tmp_path / "rows.csv").write_text("text\nship\n")
    table = command(light, "predict", "--model", str(folder), "rows.csv", cwd=tmp_path)
    assert table.returncode == 1
    assert re.fullmatch(
        r"winnow: this needs the package '\w+', which the light install leaves out\. .*docs/deployment\.md\.\n",
        table.stderr,
    )


def test_predict_in_a_project_leaves_the_link_to_its_code_alone(light: Path, tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    done = command(light, "predict", "a text", cwd=tmp_path)
    assert "no artifacts/models/quantized yet" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["dvc.yaml"]


def test_an_image_is_compared_with_texts_by_the_packages_for_images(
    light: Path, wheel: Path, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, drawing = folders("image_text_matching"), tmp_path / "red.png"
    drawing.write_bytes(encoded(plain(RED)))
    asked = ("predict", "--model", str(folder), "red.png", "--json", "--labels", *TEXTS[:3])
    done = command(light_python(tmp_path / "venv", wheel, "images"), *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = winnow.load(folder, threads=1).zero_shot([drawing], TEXTS[:3])[0]
    assert list(json.loads(done.stdout)["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-4)
    told = command(light, *asked, cwd=tmp_path).stderr
    assert "which the light install leaves out" in told
    assert "an image those of `images`: docs/deployment.md" in told


@pytest.fixture(scope="module")
def with_app(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    return light_python(tmp_path_factory.mktemp("app") / "venv", wheel, "app", "files")


def test_the_app_serves_from_the_light_install_with_its_extra(
    with_app: Path, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = folders("token_classification")
    arguments = ["app", str(folder), "--port", "0", "--threads", "1"]
    with subprocess.Popen(
        [with_app.with_name("winnow"), *arguments], cwd=tmp_path, env=alone(), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            app: App = started(process)
            said = app.predict(texts=TEXTS).json["answers"]
            pages = [app.ask("GET", path).status for path in ("/", "/docs", "/health", "/metrics", "/model")]
            app.end()
            assert app.ended() == 0
        finally:
            if process.poll() is None:
                process.kill()
    assert said == json.loads(json.dumps([rounded(record) for record in winnow.load(folder, threads=1)(TEXTS)]))
    assert pages == [200] * 5


def test_a_table_is_answered_with_the_packages_for_files(
    with_app: Path, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("text\n" + "".join(f"{text}\n" for text in TEXTS))
    folder = folders("multilabel_classification")
    done = command(with_app, "predict", "--model", str(folder), "rows.csv", "-o", "out.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == TEXTS


def test_what_is_needed_takes_less_than_150_mb(wheel: Path) -> None:
    """As the wheels of these packages unpack: what is compiled later is measured by the test with pip."""
    files = [
        (one, file) for name in closed(NEEDS[""]) for one in [bare_python.installed(name)] for file in one.files or []
    ]
    sizes = [Path(str(one.locate_file(file))).stat().st_size for one, file in files if file.suffix != ".pyc"]
    with zipfile.ZipFile(wheel) as archive:
        own = sum(entry.file_size for entry in archive.infolist())
    assert 50e6 < sum(sizes) + own < MOST_MB * 1e6


def installed_mb(site: Path) -> float:
    """Of all files, what was compiled included."""
    return sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


@pytest.fixture(scope="module")
def by_pip(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The Python of a new environment with the wheel, as docs/deployment.md says it is installed."""
    folder = tmp_path_factory.mktemp("pip") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-compile"]
    listed = wheel.with_name("requirements.txt")
    done = subprocess.run([*pip, "-r", str(listed), str(wheel)], capture_output=True, text=True, check=False)
    if done.returncode and re.search(
        r"No matching distribution|NewConnectionError|ReadTimeout|ResolutionError", done.stderr
    ):
        pytest.skip("the package index cannot be reached, or has not these versions")
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.slow
def test_what_pip_installs_is_under_150_mb_and_answers(
    by_pip: Path, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    for task in ("text_classification", "token_classification"):
        answers, modules = answered(by_pip, folders(task), ASKED[task], cwd=tmp_path)
        assert answers == json.loads(json.dumps(winnow.load(folders(task), threads=1)(list(ASKED[task]))))
        assert not modules & HEAVY
    site = next((by_pip.parents[1] / "lib").glob("python*/site-packages"))
    assert 50 < installed_mb(site) < MOST_MB, "with what the first start compiled"
    names = {canonical(one.metadata["Name"]) for one in metadata.distributions(path=[str(site)])}
    assert names == {*closed(NEEDS[""]), NAME}


DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")


def instructions(name: str) -> list[str]:
    """What the Dockerfile's instructions of that name say, each on its line."""
    return [line.partition(" ")[2] for line in DOCKERFILE.splitlines() if line.startswith(f"{name} ")]


def test_the_image_is_made_of_what_make_runtime_writes_and_of_models_alone(wheel: Path) -> None:
    (dist, model) = instructions("COPY")
    *sources, _ = dist.split()
    assert [len([*wheel.parent.glob(source.removeprefix("dist/"))]) for source in sources] == [1, 1]
    assert model == "${MODEL} /model"
    kept = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert kept == ["*", "!dist", "!artifacts/models", "!projects/*/artifacts/models"]
    (python,) = [line.partition("=")[2] for line in instructions("ARG") if line.startswith("PYTHON=")]
    assert python in PYTHONS
    assert instructions("USER") == ["65534:65534"]


@pytest.fixture
def image(wheel: Path, folders: Callable[[str], Path], tmp_path: Path) -> tuple[Callable[[str], str], Path]:
    """said(command): a command of the Dockerfile with the image's places as they are here; and the image's bin."""
    dist, bin_folder = tmp_path / "dist", tmp_path / "venv/bin"
    shutil.copytree(wheel.parent, dist)
    shutil.copytree(folders("regression"), tmp_path / "model")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    pip = bin_folder / "pip"
    pip.write_text(f'#!/bin/sh\nexec {sys.executable} -m pip --python {bin_folder / "python"} "$@"\n')
    pip.chmod(0o755)

    def here(command: str) -> str:
        return command.replace("/tmp/dist", str(dist)).replace("/model", str(tmp_path / "model"))

    return here, bin_folder


def test_the_images_commands_install_check_and_serve(image: tuple[Callable[[str], str], Path], tmp_path: Path) -> None:
    """Without docker: in a virtual environment, with wheels of what is installed here in the place of an index."""
    here, bin_folder = image
    for name in closed({*NEEDS[""], *NEEDS["app"]}):
        bare_python.wheel_of(name, tmp_path / "wheels")
    environment = alone(PATH=f"{bin_folder}:/usr/bin:/bin", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / "wheels"))
    for command in instructions("RUN"):
        done = subprocess.run(
            ["/bin/sh", "-c", here(command)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "dist").exists()
    (entry,), (health,) = instructions("ENTRYPOINT"), instructions("HEALTHCHECK")
    served = [here(part) for part in json.loads(entry)]
    with subprocess.Popen(
        [bin_folder / served[0], *served[1:], "--port", "0"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        try:
            app = started(process)
            asking = json.loads(health.partition(" CMD ")[2])
            asking[-1] = asking[-1].replace(":8000/", f":{app.port}/")
            subprocess.run([bin_folder / asking[0], *asking[1:]], env=environment, check=True)
            assert app.predict(texts=TEXTS[:1]).status == 200
            app.end()
            assert app.ended() == 0
        finally:
            if process.poll() is None:
                process.kill()


def test_an_image_of_an_altered_model_is_not_made(
    with_app: Path, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copytree(folders("regression"), tmp_path / "model")
    (tmp_path / "model/tokenizer.json").write_text("{}")
    check = instructions("RUN")[1].replace("/model", str(tmp_path / "model"))
    done = subprocess.run(
        ["/bin/sh", "-c", check], cwd=tmp_path, env=alone(PATH=f"{with_app.parent}:/usr/bin:/bin"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "tokenizer.json was altered" in done.stderr
