"""Files by content: names are SHA-256, files are regular, bytes are streamed and checked.

Knows nothing of what is in them.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from splitinfer.errors import CorruptBundle

CHUNK_BYTES = 1 << 20


def size(path: Path) -> int | None:
    """Bytes of a regular file; None where there is nothing.

    Raises:
        CorruptBundle: it is a link, a folder or anything else that is not a plain file.
    """
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode):
        raise CorruptBundle(f"{path.name} is not a regular file: copy the bundle again, without links")
    return status.st_size


def read(path: Path, limit_bytes: int) -> bytes:
    """Reads a whole small file.

    Raises:
        CorruptBundle: it is missing, not a regular file, or larger than the limit.
    """
    nbytes = size(path)
    if nbytes is None:
        raise CorruptBundle(f"{path.name} is missing: this is no bundle, or it was not copied completely")
    if nbytes > limit_bytes:
        raise CorruptBundle(f"{path.name} has {nbytes} bytes, more than the {limit_bytes} expected")
    return path.read_bytes()


def checked(path: Path, nbytes: int) -> bytes:
    """Reads a blob and checks it against its name.

    Raises:
        CorruptBundle: it is missing or was changed.
    """
    data = read(path, limit_bytes=nbytes)
    if len(data) != nbytes or hashlib.sha256(data).hexdigest() != path.name:
        raise _changed(path)
    return data


def verify(path: Path, nbytes: int) -> None:
    """Checks a blob of any size against its name, a chunk at a time.

    Raises:
        CorruptBundle: it is missing or was changed.
    """
    if size(path) != nbytes:
        raise _changed(path)
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != path.name:
            raise _changed(path)


def save(path: Path, chunks: Iterable[bytes | memoryview], sha256: str | None = None) -> int:
    """Writes a new file through to the disk.

    Args:
        path: must not exist.
        chunks: its content.
        sha256: what the content must hash to.

    Returns:
        Bytes written.

    Raises:
        ValueError: the content hashes to something else.
    """
    digest = hashlib.sha256()
    with path.open("xb") as file:
        for chunk in chunks:
            digest.update(chunk)
            file.write(chunk)
        _sync(file)
        nbytes = file.tell()
    if sha256 is not None and digest.hexdigest() != sha256:
        raise ValueError(f"the content of blob {sha256} hashes to {digest.hexdigest()}")
    return nbytes


def replace(path: Path, data: bytes) -> None:
    """Replaces a small file at once: a reader sees the old or the new one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    save(fresh, [data])
    fresh.replace(path)
    sync_folder(path.parent)


def chunks_of(source: Path) -> Iterator[bytes]:
    """The content of a file, a chunk at a time."""
    with source.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def sync_folder(path: Path) -> None:
    """Makes the names in a folder last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _changed(path: Path) -> CorruptBundle:
    return CorruptBundle(f"blob {path.name} is missing or was changed: build or copy the bundle again")
