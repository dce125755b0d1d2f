"""Metrics of one's own, by name."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from splitinfer.build.metric import call, load_metric
from splitinfer.errors import InvalidInput

FILE = """
import numpy as np

def spread(outputs, labels):
    return float(np.std(outputs["y"]))

def alone(outputs):
    return 0.0

figure = 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "ours_for_a_test.py").write_text(FILE)
    (tmp_path / "needs_for_a_test.py").write_text("import there_is_no_such_thing")
    (tmp_path / "broken_for_a_test.py").write_text("def spread(:")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("ours_for_a_test", "needs_for_a_test", "broken_for_a_test"):
        sys.modules.pop(name, None)


def test_a_function_of_the_current_folder_is_found(here):
    path = list(sys.path)
    spread = load_metric("ours_for_a_test:spread")
    assert call(spread, {"y": np.array([1.0, 3.0])}, np.zeros(2)) == 1.0
    assert sys.path == path


def test_a_function_of_an_installed_module_is_found():
    assert load_metric("numpy:dot") is np.dot


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("spread", "write module:function"),
        (":spread", "write module:function"),
        ("ours_for_a_test:", "write module:function"),
        ("ours_for_a_test:a.b", "write module:function"),
        ("nowhere_for_a_test:spread", "no module 'nowhere_for_a_test', neither here nor installed"),
        ("needs_for_a_test:spread", "needs 'there_is_no_such_thing', which is not installed"),
        ("broken_for_a_test:spread", "cannot be imported: invalid syntax"),
        ("ours_for_a_test:spred", "module ours_for_a_test has no 'spred'"),
        ("ours_for_a_test:figure", "no function that takes"),
        ("ours_for_a_test:alone", "no function that takes"),
        ("..:spread", "write module:function"),
    ],
)
def test_what_is_wrong_is_named(here, path, says):
    with pytest.raises(InvalidInput, match=says):
        load_metric(path)


@pytest.mark.parametrize(
    ("metric", "says"), [(lambda o, w: 1 / 0, "<lambda> failed: ZeroDivisionError"), (lambda o, w: "good", "could not convert")]
)
def test_a_function_that_fails_is_named(metric, says):
    with pytest.raises(InvalidInput, match=says):
        call(metric, {}, {})
