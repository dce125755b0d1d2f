"""Photos that somebody gives: a folder with `labels.csv` (columns `file` and, where it is known, `imagenet_class`).

Photos of another size lose what is too wide or too high, evenly at both sides, and are resized. Knows no network.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from splitinfer.errors import InvalidInput, MissingExtra

if TYPE_CHECKING:
    from PIL.Image import Image

Size = tuple[int, int]
"""Height and width."""
LIST, FILE, LABEL = "labels.csv", "file", "imagenet_class"


@dataclass(frozen=True, eq=False)
class Photos:
    """What is shown to a classifier.

    Attributes:
        pixels: RGB, uint8 [N, height, width, 3].
        groups: which photos belong together (views of one scene), 0 and up; where each stands alone, its own number.
        labels: class of each; None = unknown.
        about: where they come from, for people.
    """

    pixels: npt.NDArray[np.uint8]
    groups: npt.NDArray[np.intp]
    labels: npt.NDArray[np.int64] | None
    about: str

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: slice) -> Photos:
        """Some of them."""
        _, groups = np.unique(self.groups[rows], return_inverse=True)
        return Photos(self.pixels[rows], groups, None if self.labels is None else self.labels[rows], self.about)


def read(folder: Path, size: Size) -> Photos:
    """The photos of a folder.

    Args:
        folder: with `labels.csv`; a folder without one is all its pictures by name, and no labels.
        size: of the network's input.

    Raises:
        InvalidInput: a file is missing or no picture, or there are fewer than four.
    """
    rows = _rows(folder)
    if len(rows) < 4:
        raise InvalidInput(f"{folder} has {len(rows)} photos: half of them choose and half report, so give at least 4")
    found = [_photo(folder / name, size) for name, _ in rows]
    labels = np.array([label for _, label in rows if label is not None], np.int64)
    changed = sum(other for _, other in found)
    about = f"{len(rows)} photos" + (f", {changed} of them cropped and resized to {size[0]}x{size[1]}" if changed else "")
    every = len(labels) == len(rows)
    return Photos(np.stack([pixels for pixels, _ in found]), np.arange(len(rows)), labels if every else None, about)


def _rows(folder: Path) -> list[tuple[str, int | None]]:
    """File and class of each."""
    listed = folder / LIST
    if not listed.is_file():
        pictures = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
        return [(path.name, None) for path in pictures]
    with listed.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if FILE not in (reader.fieldnames or ()):
            raise InvalidInput(f"{listed} has no column {FILE!r}: its first line names the columns, {FILE},{LABEL}")
        try:
            return [(row[FILE], int(row[LABEL]) if row.get(LABEL) else None) for row in reader]
        except ValueError as error:
            raise InvalidInput(f"{listed}: the column {LABEL} holds numbers of classes: {error}") from error


def _photo(path: Path, size: Size) -> tuple[npt.NDArray[np.uint8], bool]:
    """Pixels, and whether they had to be resized."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingExtra("demo", "reading photos") from error
    try:
        with Image.open(path) as file:
            photo = file.convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise InvalidInput(f"{path} is listed, but is no picture that can be read: {error}") from error
    if (photo.height, photo.width) == size:
        return np.asarray(photo), False
    return resized(photo, size), True


def resized(photo: Image, size: Size) -> npt.NDArray[np.uint8]:
    """The largest middle part of the right proportions, resized."""
    from PIL.Image import Resampling

    height, width = size
    scale = min(photo.height / height, photo.width / width)
    left, top = (photo.width - scale * width) / 2, (photo.height - scale * height) / 2
    box = (left, top, left + scale * width, top + scale * height)
    return np.asarray(photo.resize((width, height), Resampling.BICUBIC, box=box))
