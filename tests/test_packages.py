"""hashes.txt: what pip installs of a wheel is what the wheel holds, and whatever is altered since is named."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY

from flows.running import packages
from flows.running.packages import HASHES, PINS, Pinned, as_text, faults, of_wheels, read


def wheel(folder: Path, version: str = "1.0", text: str = "ANSWER = 42\n") -> Path:
    """The wheel of a package with a module, some data and a command."""
    info = f"Some_Package-{version}.dist-info"
    files = {
        "some_package/__init__.py": text,
        "some_package/data.txt": "data\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: Some.Package\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nsome = some_package:main\n",
    }
    digests = {name: hashlib.sha256(content.encode()).digest() for name, content in files.items()}
    record = [
        f"{name},sha256={base64.urlsafe_b64encode(found).rstrip(b'=').decode()}," for name, found in digests.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    folder.mkdir(exist_ok=True)
    path = folder / f"Some_Package-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def install(path: Path, target: Path) -> Path:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*command, str(path)], check=True, capture_output=True)
    return target


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment")
    return install(wheel(folder / "wheels"), folder / "site")


@pytest.fixture
def site(installed: Path, tmp_path: Path) -> Path:
    """A copy of the environment, and beside it a project that pins the wheel."""
    subprocess.run(["cp", "-r", installed, tmp_path / "site"], check=True)
    (tmp_path / HASHES).write_text(as_text(of_wheels(installed.parent / "wheels")))
    return tmp_path / "site"


def found(site: Path) -> list[str]:
    return list(faults(site.parent, [str(site)]))


def test_what_pip_installs_of_a_wheel_is_what_is_pinned(site: Path) -> None:
    assert (site / "Some_Package-1.0.dist-info/INSTALLER").exists(), "pip adds files of its own"
    assert found(site) == []


def rewritten(site: Path) -> None:
    """A file altered and its hash in RECORD, too."""
    (site / "some_package/data.txt").write_text("other\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"other\n").digest()).rstrip(b"=").decode()
    record = site / "Some_Package-1.0.dist-info/RECORD"
    lines = [
        f"some_package/data.txt,sha256={digest},6" if line.startswith("some_package/data.txt") else line
        for line in record.read_text().splitlines()
    ]
    record.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda site: (site / "some_package/__init__.py").write_text("ANSWER = 41"),
            "some_package/__init__.py was alter",
        ),
        (lambda site: (site / "some_package/data.txt").unlink(), "some_package/data.txt is missing"),
        (rewritten, "its files are others"),
        (
            lambda site: (site.parent / HASHES).write_text(as_text({"some-package": Pinned("1.1", *["0" * 64] * 2)})),
            "1.1",
        ),
    ],
)
def test_what_was_altered_since_is_named_with_the_way_back(
    site: Path, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(site)
    (line,) = found(site)
    assert line.startswith("some-package 1.0 is ")
    assert said in line
    assert "pip install --force-reinstall --no-deps some-package==1.0" in line or "make setup" in line


def test_a_package_that_lost_its_name_is_named_by_its_place(site: Path) -> None:
    (site / "Some_Package-1.0.dist-info/METADATA").unlink()
    assert found(site) == [
        f"{site} has a .dist-info without a name in METADATA. Remove that folder, and install what it is of."
    ]


def test_another_build_of_the_same_version_is_another(site: Path, tmp_path: Path) -> None:
    other = of_wheels(wheel(tmp_path / "wheels", text="ANSWER = 43\n").parent)
    (tmp_path / HASHES).write_text(as_text(other))
    (line,) = found(site)
    assert "is not what was published" in line


def test_a_project_without_the_file_and_a_wrong_line_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"hashes\.txt: no such file\. Write it: python -m flows\.running\.packages"
    ):
        list(faults(tmp_path, []))
    (tmp_path / HASHES).write_text("# pins\nclick 8.1 abc\n")
    with pytest.raises(ValueError, match=r"hashes\.txt, line 2: expected name, version and two SHA-256"):
        list(faults(tmp_path, []))


def test_every_hash_is_of_a_version_that_is_pinned() -> None:
    lines = (REPOSITORY / PINS).read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    versions = {packages.canonical(name): version for name, version in pins.items()}
    hashed = read(REPOSITORY / HASHES)
    assert {name: one.version for name, one in hashed.items()} == {name: versions[name] for name in hashed}
    assert len(hashed) > 150
    assert not {"torch", "numpy", "onnxruntime"} & hashed.keys(), "other files on other platforms"
