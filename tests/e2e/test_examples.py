"""What we show people runs: the examples, and the code of the README."""

from __future__ import annotations

import re
from pathlib import Path
from runpy import run_path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("with_cloud", [False, True], ids=["alone", "cloud"])
def test_an_example_runs(path, with_cloud, bundle_path, cloud, tiny, capsys):
    run_path(str(path))["main"](str(bundle_path), cloud.start(tiny).address if with_cloud else None)
    assert capsys.readouterr().out


def test_the_cascade_infers_only_what_is_loud(bundle_path, capsys):
    run_path(str(ROOT / "examples" / "cascade.py"))["main"](str(bundle_path))
    assert capsys.readouterr().out.startswith("4 of 20 frames")


def test_the_code_of_the_readme_runs(bundle_path, cloud, tiny, monkeypatch, tmp_path, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    (tmp_path / "model.bundle").symlink_to(bundle_path)
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(block.replace("127.0.0.1:8443", cloud.start(tiny).address), {})
    assert capsys.readouterr().out
