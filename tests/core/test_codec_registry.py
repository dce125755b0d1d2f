"""Ids: which there are, how they compose, what packages add, and which are offered where."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from splitinfer.codec import FAMILIES, codec, codecs_for, installed, table_key
from splitinfer.codec.klt import STEPS
from splitinfer.errors import UnknownCodec
from splitinfer.model import Cut, TensorSpec


@pytest.mark.parametrize(
    "id",
    [
        "",
        "none",
        ":3",
        "+zstd1",
        "int8+zstd2",
        "int8+zstd1+zstd1",
        "int9",
        "png:3",
        "png+zstd1",
        "jpeg",
        "jpeg:",
        "jpeg:0",
        "jpeg:101",
        "jpeg:075",
        "jpeg:9٣",
        "jpeg:75+zstd1",
        "RAW",
        "raw ",
        "raw\n",
        "x" * 100_000,
    ],
)
def test_what_is_no_id_is_unknown(id: str) -> None:
    with pytest.raises(UnknownCodec) as raised:
        codec(id)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_every_family_has_an_id_of_its_name(family: object) -> None:
    found = codec(family.example)
    assert found.id == family.example
    assert codec(family.example) is found


def test_a_byte_compressor_follows_what_has_a_known_size() -> None:
    for name in ("raw", "half", "int8", "int6", "int4"):
        assert codec(f"{name}+zstd1").id == f"{name}+zstd1"
        assert codec(f"{name}+zstd1").lossless == codec(name).lossless


def cut(*tensors: TensorSpec) -> Cut:
    return Cut(1, "0" * 12, "here", tensors, 0.5)


def offered(*tensors: TensorSpec, image: str | None = None) -> list[str]:
    return [found.id for found in codecs_for(cut(*tensors), image)]


def test_what_is_offered_follows_from_the_tensors() -> None:
    floats, half = TensorSpec("f", "float32", (None, 8)), TensorSpec("h", "float16", (None, 8))
    whole, image = TensorSpec("i", "int64", (None, 2)), TensorSpec("image", "uint8", (None, 8, 8, 3))
    every = [
        "raw",
        "shuffle+zstd1",
        "half",
        "half+zstd1",
        "int8",
        "int8+zstd1",
        "int6+zstd1",
        "int4d+zstd1",
        "int4+zstd1",
        "int2d+zstd1",
        *(f"klt:{step}" for step in STEPS),
    ]
    assert offered(floats) == offered(floats, whole) == every
    assert offered(half) == [id for id in every if not id.startswith(("half", "klt"))]
    assert offered(whole) == offered(image) == ["raw", "narrow", "narrow+zstd1"]
    assert offered() == []
    pictures = offered(image, image="image")
    assert pictures[:2] == ["raw", "png"]
    assert {"jpeg:75", "jpeg:95", "webp:75", "avif:75"} < set(pictures)
    assert len(pictures) <= 12


def test_a_table_serves_every_step_and_byte_compressor_of_its_family() -> None:
    assert table_key(2, "a/b", "int4") == table_key(2, "a/b", "int4+zstd1") == "2/a/b/int4"
    assert table_key(0, "x", "klt:1.5") == table_key(0, "x", "klt:2") == "0/x/klt"


# -- what packages add ------------------------------------------------------------------------------------------------

Install = Callable[..., None]

MODULE = """
    from splitinfer.codec.half import Half
    from splitinfer.codec.png import Png
    from splitinfer.errors import UnknownCodec

    class Mine(Half):
        def __init__(self, id):
            self.id = id

    def stepped(step):
        if step not in ("1", "2.5"):
            raise UnknownCodec("mine takes 1 and 2.5")
        return Mine(f"mine:{step}")

    def plain(step):
        return Mine("plain")

    def unsized(step):
        made = Png()
        made.id = "unsized"
        return made

    def failing(step):
        raise RuntimeError("secret")

    def nothing(step):
        return None

    number = 3
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package with entry points where Python finds packages."""

    def install(package: str = "mypackage", module: str = "mymodule", source: str = MODULE, **entries: str) -> None:
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
        lines = [f"{name} = {module}:{attribute}" for name, attribute in entries.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{installed.GROUP}]", *lines]), encoding="utf-8")
        (tmp_path / f"{module}.py").write_text(dedent(source), encoding="utf-8")

    monkeypatch.syspath_prepend(tmp_path)
    _forget()
    yield install
    _forget()
    for name in ("mymodule", "other"):
        sys.modules.pop(name, None)


def _forget() -> None:
    installed._entry_points.cache_clear()
    installed._load.cache_clear()
    codec.__globals__["_REGISTRY"]._codec.cache_clear()


def test_a_package_adds_a_codec_with_steps(install: Install) -> None:
    install(mine="stepped")
    for id in ("mine:1", "mine:2.5", "mine:2.5+zstd1"):
        assert codec(id).id == id
    for id in ("mine", "mine:3", "mine:1+zstd1+zstd1"):
        with pytest.raises(UnknownCodec):
            codec(id)


def test_theirs_compose_where_they_have_a_known_size(install: Install) -> None:
    install(plain="plain", unsized="unsized")
    assert codec("plain+zstd1").id == "plain+zstd1"
    assert codec("unsized").id == "unsized"
    with pytest.raises(UnknownCodec):
        codec("unsized+zstd1")


def test_nobody_replaces_one_of_ours(install: Install) -> None:
    install(raw="plain", jpeg="plain")
    assert type(codec("raw")).__module__ == "splitinfer.codec.raw"
    with pytest.raises(UnknownCodec):
        codec("jpeg")


def test_a_package_is_loaded_only_when_its_name_is_asked_for(install: Install) -> None:
    install(plain="plain")
    with pytest.raises(UnknownCodec):
        codec("someone")
    assert "mymodule" not in sys.modules
    codec("plain")
    assert "mymodule" in sys.modules


@pytest.mark.parametrize("broken", ["failing", "nothing", "number", "plain", "absent"])
def test_a_broken_package_is_named(install: Install, broken: str) -> None:
    install(mine=broken)
    for _ in range(2):
        with pytest.raises(UnknownCodec, match="entry point 'mine' of mypackage") as raised:
            codec("mine")
        assert "secret" not in str(raised.value)


def test_a_package_that_cannot_be_imported_is_imported_once(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install(source="print('imported')\n1 / 0", mine="factory")
    for _ in range(3):
        with pytest.raises(UnknownCodec, match="ZeroDivisionError") as raised:
            codec("mine")
        assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert capsys.readouterr().out == "imported\n"


def test_two_packages_with_one_name_are_both_refused(install: Install) -> None:
    install(plain="plain")
    install("elsewhere", "other", plain="plain")
    with pytest.raises(UnknownCodec, match="2 packages"):
        codec("plain")
