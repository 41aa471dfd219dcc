"""Finding and opening of files of rows: a path, a folder or an s3:// URL; gzipped files are read like others.

Credentials for S3 come from boto3's usual places (the environment, ~/.aws, the machine's role), never from here.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import fsspec
from fsspec.utils import glob_translate

from stages.core.plugins import install_extra
from stages.reading.errors import one_line, too_large
from stages.reading.links import refuse_links

MISNAMED = {  # first bytes of files whose ending is wrong
    b"\x1f\x8b": "gzipped. End its name in .gz",
    b"PK\x03\x04": "a zip archive or a spreadsheet. Save its rows as csv",
    b"PAR1": "Parquet. End its name in .parquet",
}
TABLES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")  # columns with names
TAGGED = (".conll", ".bio", ".iob", ".iob2", ".bioes")  # words with tags, a line each
ENDINGS = (*TABLES, *TAGGED)  # and each of them with .gz


class OutOfReachError(OSError):
    """A file cannot be read any further: the connection, or the disk, has failed."""


class DataFile(NamedTuple):
    name: str
    """The path under the folder that is read, or the file's own name: "2024/rows.csv.gz"; origins begin with it."""
    shown: str
    """The name in messages: "data/2024/rows.csv.gz", "s3://bucket/data/2024/rows.csv.gz"."""
    open: Callable[[], BinaryIO]

    @property
    def stem(self) -> str:
        """The name without its ending: "2024/rows"."""
        ungzipped = self.name[:-3] if self.is_gzipped else self.name
        return ungzipped[: len(ungzipped) - len(self.ending)]

    @property
    def ending(self) -> str:
        """One of ENDINGS, or any other ending of the name."""
        return PurePosixPath(self.name[:-3] if self.is_gzipped else self.name).suffix.lower()

    @property
    def is_gzipped(self) -> bool:
        return self.name.lower().endswith(".gz")


def find(path: str, pattern: str | None) -> list[DataFile]:
    """The file `path`, or the files of ENDINGS in the folder `path` that match `pattern`; sorted by name.

    Hidden ones (a name, or a folder's, that starts with a dot or an underscore) are no data. Raises
    FileNotFoundError where there is nothing, ValueError for an unknown ending or scheme and for a link, OSError where
    S3 refuses.
    """
    found, is_folder = _remote(path) if "://" in path else _local(Path(path))
    if not is_folder:
        if found[0].ending not in ENDINGS:
            ending = found[0].ending or "no ending"
            raise ValueError(
                f"params.yaml: ingest.path is '{path}' ({ending}). Allowed: a file that ends in "
                f"{', '.join(ENDINGS)} (or these and .gz), or a folder."
            )
        if pattern is not None:
            raise ValueError(
                f"params.yaml: ingest.pattern is '{pattern}', and ingest.path is '{path}', a file. Allowed with a file:"
                " null. A pattern says which files of a folder are read."
            )
        return found
    return _matching([file for file in _data(found) if file.ending in ENDINGS], path, pattern)


def folder_of(path: str, pattern: str | None) -> list[DataFile]:
    """The files of the folder `path`, whatever they end in, that match `pattern`; sorted by name, without hidden ones.

    Raises as `find`, and ValueError where `path` is a file.
    """
    found, is_folder = _remote(path) if "://" in path else _local(Path(path))
    if not is_folder:
        raise ValueError(f"params.yaml: ingest.path is '{path}', a file. Name the folder that it lies in.")
    return _matching(_data(found), path, pattern)


def _data(found: Sequence[DataFile]) -> list[DataFile]:
    """Those that are not hidden, by name."""
    data = (file for file in found if not re.search(r"(^|/)[._]", file.name))
    return sorted(data, key=lambda file: file.name)


def _matching(files: list[DataFile], path: str, pattern: str | None) -> list[DataFile]:
    if pattern is None:
        return files
    matches = re.compile(glob_translate(pattern)).match
    if not (matching := [file for file in files if matches(file.name)]):
        names = ", ".join(file.name for file in files[:5]) or "no file of rows"
        raise FileNotFoundError(
            f"params.yaml: ingest.pattern is '{pattern}', which no file in {path} matches. Found there: {names}."
        )
    return matching


@contextlib.contextmanager
def opened(file: DataFile, max_bytes: int | None = None) -> Iterator[BinaryIO]:
    """The bytes of the file, unzipped; it can be read again from its start.

    Raises ValueError where it is empty or its gzip is damaged, and where it turns out to hold more than `max_bytes`;
    OutOfReachError where the connection breaks.
    """
    try:
        with contextlib.ExitStack() as stack:
            stream: Any = stack.enter_context(_Placed(file))
            _check_start(file, stream.read(4))
            stream.seek(0)
            if file.is_gzipped:
                stream = stack.enter_context(gzip.GzipFile(fileobj=stream))
            if max_bytes is not None:
                stream = stack.enter_context(_Limited(stream, file.shown, max_bytes))
            yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{file.shown} is not a whole gzip file: {one_line(error)}. Check it with `gzip -t`; write or fetch it "
            "again, or take .gz off its name where it is not gzipped."
        ) from None


class _Placed(io.RawIOBase):
    """The bytes of a file; its errors name the file."""

    def __init__(self, file: DataFile) -> None:
        self._shown = file.shown
        self._stream: Any = None
        self._stream = self._asked(file.open)

    def _asked(self, ask: Callable[..., Any], *values: int) -> Any:
        try:
            return ask(*values)
        except Exception as error:  # the network's libraries have kinds of their own
            remedy = "the connection" if "://" in self._shown else "the file, and who may read it"
            raise OutOfReachError(
                f"{self._shown} cannot be read: {one_line(error)}. Check {remedy}, and run it again."
            ) from None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._asked(self._stream.read, len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._asked(self._stream.seek, offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        super().close()


class _Limited(io.RawIOBase):
    """The bytes of a stream; an error where there are more than a limit."""

    def __init__(self, stream: Any, shown: str, max_bytes: int) -> None:
        self._stream, self._shown, self._max_bytes = stream, shown, max_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._stream.read(len(buffer))
        if self._stream.tell() > self._max_bytes:
            raise too_large(self._shown, self._max_bytes)
        buffer[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())


def _check_start(file: DataFile, start: bytes) -> None:
    if not start:
        raise ValueError(f"{file.shown} is empty (0 bytes). Check that it was written.")
    for magic, found in MISNAMED.items():
        if start.startswith(magic) and not file.is_gzipped and file.ending != ".parquet":
            raise ValueError(f"{file.shown} is {found}.")


def _local(path: Path) -> tuple[list[DataFile], bool]:
    """The files, and whether `path` is a folder. Raises ValueError for a link among them."""
    refuse_links(path)
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.is_file()]
        return [local_file(file, file.relative_to(path).as_posix()) for file in found], True
    if not path.is_file():
        raise FileNotFoundError(f"params.yaml: ingest.path is '{path}': no such file or folder. Put your data there.")
    return [local_file(path, path.name)], False


def local_file(path: Path, name: str) -> DataFile:
    """The file at `path`, with the name `name`."""
    return DataFile(name, str(path), lambda: path.open("rb"))


def _remote(url: str) -> tuple[list[DataFile], bool]:
    """The objects under an s3:// URL, and whether it is a prefix ("folder") and no object."""
    scheme, _, place = url.partition("://")
    if "@" in place.partition("/")[0] or re.match(r"[^:/@]*:[^@]*@", place):
        raise ValueError(
            "params.yaml: ingest.path holds credentials in a URL. Take them out; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY in the environment."
        )
    if scheme != "s3":
        raise ValueError(f"params.yaml: ingest.path is a {scheme}:// URL. Allowed: a path, or a URL with s3://.")
    try:
        system, root = fsspec.url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)
        names: Sequence[str] = system.find(root)
    except ImportError:
        raise ValueError(
            f"params.yaml: ingest.path is '{url}', which needs s3fs. Install it from the project's folder: "
            f"{install_extra('s3')}"
        ) from None
    except Exception as error:  # botocore's kinds of errors are no OSErrors, and change
        raise OSError(
            f"{url} cannot be listed: {one_line(error)}. Check the bucket's name, AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, and AWS_ENDPOINT_URL where the server is not Amazon's."
        ) from None
    if not names:
        raise FileNotFoundError(f"params.yaml: ingest.path is '{url}': no such object, and none beneath it.")
    is_folder = root.rstrip("/") not in names
    within = root.rstrip("/") if is_folder else str(PurePosixPath(root).parent)
    return [_remote_file(system, name, name.removeprefix(f"{within}/")) for name in names], is_folder


def _remote_file(system: Any, key: str, name: str) -> DataFile:
    return DataFile(name, f"s3://{key}", lambda: system.open(key, "rb"))
