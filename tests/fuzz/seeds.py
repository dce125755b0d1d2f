"""What fuzzing starts from: a payload of every codec at every cut, the golden bytes, and what earlier runs have found.

    python -m tests.fuzz.seeds DIR           writes them, a file each
    python -m tests.fuzz.seeds --keep DIR    adds what a run over them has found since, where it is short, to corpus.jsonl

Lines of `corpus.jsonl` name codec and cut, because their numbers change whenever a codec is added.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from splitinfer.codec import codec
from splitinfer.errors import CorruptBundle
from splitinfer.testing import specimens
from tests.fuzz.target import SPECS, Case, cases, describe, packer

CORPUS = Path(__file__).parent / "corpus.jsonl"
GOLDEN = Path(__file__).parents[1] / "golden" / "codec"
_SHORT_BYTES = 160


def seeds() -> Iterator[bytes]:
    """All, in the form that `target.run` takes."""
    yield from fresh()
    yield from golden()
    yield from kept()


def fresh() -> Iterator[bytes]:
    """What our encoders make today."""
    for case in cases():
        tensor = specimens.values(case.spec, 2, 0)
        try:
            payload = packer().pack(case.cut, case.codec, {case.spec.name: tensor})
        except CorruptBundle:  # no table
            continue
        yield describe(case, 2, [bytes(chunk) for chunk in payload.parts[0].chunks])


def golden() -> Iterator[bytes]:
    """Stored bytes are of other shapes: what starts well and goes wrong later."""
    for path in sorted(GOLDEN.glob("*.json")):
        case = json.loads(path.read_text(encoding="utf-8"))
        chunks = [bytes.fromhex(chunk) for chunk in case["chunks"]]
        for cut, spec in enumerate(SPECS):
            if Case(cut, case["id"]) in cases() and codec(case["id"]).accepts(spec) and spec.dtype == case["dtype"]:
                yield describe(Case(cut, case["id"]), 2, chunks)


def kept() -> Iterator[bytes]:
    """What earlier runs have found, of codecs that there are."""
    for line in CORPUS.read_text(encoding="utf-8").splitlines():
        codec_id, cut, rest = json.loads(line)
        if Case(cut, codec_id) in cases():
            yield cases().index(Case(cut, codec_id)).to_bytes(2, "little") + bytes.fromhex(rest)


def write(folder: Path) -> int:
    """Writes all into a folder, and returns how many there are."""
    found = set(seeds())
    for data in found:
        (folder / sha256(data).hexdigest()[:16]).write_bytes(data)
    return len(found)


def keep(folder: Path) -> None:
    """Adds what a run has left in the folder to the corpus."""
    known = set(seeds())
    lines = set(CORPUS.read_text(encoding="utf-8").splitlines())
    for data in (path.read_bytes() for path in sorted(folder.iterdir())):
        if 2 <= len(data) <= _SHORT_BYTES and data not in known:
            case = cases()[int.from_bytes(data[:2], "little") % len(cases())]
            lines.add(json.dumps([case.codec, case.cut, data[2:].hex()]))
    CORPUS.write_text("\n".join(sorted(lines)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--keep":
        keep(Path(sys.argv[2]))
    else:
        print(write(Path(sys.argv[1])))
