"""A manifest from a stranger: accepted exactly, or refused with one kind of error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.bundle.manifest import Manifest, digest_of
from splitinfer.errors import CorruptBundle
from tests.bundles import tiny_bundle

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    bundle = tiny_bundle(tmp_path_factory.mktemp("b") / "b", tables={"k": b"t"}, image_input="x", preprocessing={"mean": 127})
    return (bundle.path / "manifest.json").read_bytes()


def places(value: object, path: tuple = ()) -> list[tuple]:
    """The way to each value inside."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


def accepted_or_refused(data: bytes, good: bytes) -> None:
    try:
        manifest = Manifest.decode(data)
    except CorruptBundle:
        return
    assert manifest.encode() == data
    assert (digest_of(data) == digest_of(good)) == (data == good)


def test_decoding_gives_back_what_was_encoded(good: bytes) -> None:
    manifest = Manifest.decode(good)
    assert manifest.encode() == good
    assert Manifest.decode(manifest.encode()) == manifest


@settings(derandomize=True, deadline=None, max_examples=300)
@given(data=st.data())
def test_any_value_in_any_place(good: bytes, data: st.DataObject) -> None:
    raw = json.loads(good)
    *path, last = data.draw(st.sampled_from(places(raw)[1:]))
    inner = raw
    for key in path:
        inner = inner[key]
    inner[last] = data.draw(JSON_VALUES)
    accepted_or_refused(json.dumps(raw, sort_keys=True, separators=(",", ":")).encode(), good)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(position=st.integers(min_value=0), byte=st.integers(0, 255))
def test_any_byte_changed(good: bytes, position: int, byte: int) -> None:
    at = position % len(good)
    accepted_or_refused(good[:at] + bytes([byte]) + good[at + 1 :], good)


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(junk: bytes) -> None:
    with pytest.raises(CorruptBundle):
        Manifest.decode(junk)
