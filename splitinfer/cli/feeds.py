"""Inputs from files: .npz (one array an input), .npy (the only input), .jpg/.png/.webp/.avif (the only image input)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from splitinfer.errors import InvalidInput
from splitinfer.model import Array, Model

IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".avif"}


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of an .npz file.

    Raises:
        InvalidInput: it is not one, or asks to run code (pickled objects).
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            if isinstance(archive, np.ndarray):
                raise InvalidInput(f"{path} holds one array; give an .npz with one array for each input")
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is not an .npz file of plain arrays") from error


def read_feeds(path: Path, model: Model) -> dict[str, Array]:
    """Inputs of a model from a file; a missing batch axis is added.

    Raises:
        InvalidInput: the file does not fit the model.
    """
    if path.suffix.lower() in IMAGES:
        feeds: dict[str, Array] = {_only_image(model): _picture(path, model)}
    elif path.suffix == ".npy":
        feeds = {_only_input(model): read_array(path)}
    else:
        feeds = read_arrays(path)
    ranks = {spec.name: len(spec.shape) for spec in model.inputs}
    feeds = {name: a[None] if a.ndim == ranks.get(name, a.ndim) - 1 else a for name, a in feeds.items()}
    model.check_inputs(feeds)
    return feeds


def encoded_image(path: Path, model: Model) -> bytes | None:
    """The file's own bytes, where it is an image and the model takes images: it may pass through unchanged at cut 0."""
    return path.read_bytes() if path.suffix.lower() in IMAGES and model.image_input and len(model.inputs) == 1 else None


def read_array(path: Path) -> Array:
    """The array of an .npy file.

    Raises:
        InvalidInput: it is not one, or asks to run code (pickled objects).
    """
    try:
        array: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is not an .npy file of a plain array") from error
    return array


def _only_input(model: Model) -> str:
    if len(model.inputs) != 1:
        raise InvalidInput(f"the model has inputs {[t.name for t in model.inputs]}: give an .npz with one array for each")
    return model.inputs[0].name


def _only_image(model: Model) -> str:
    if model.image_input is None:
        raise InvalidInput("this bundle takes no image files: build it with --image-input NAME, or give an .npz")
    return model.image_input


def _picture(path: Path, model: Model) -> Array:
    """Pixels at the model's size: the middle square, scaled (what a camera pipeline in front of the model would do)."""
    from PIL import Image, UnidentifiedImageError

    spec = next(t for t in model.inputs if t.name == model.image_input)
    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise InvalidInput(f"{path} is not an image") from error
    height, width = spec.shape[1] or picture.height, spec.shape[2] or picture.width
    if picture.size != (width, height):
        side = min(picture.width / width, picture.height / height)
        left, top = (picture.width - side * width) / 2, (picture.height - side * height) / 2
        box = (left, top, left + side * width, top + side * height)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.asarray(picture, dtype=np.uint8)[None]
