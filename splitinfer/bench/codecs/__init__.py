"""`splitinfer bench codecs`: what the codecs promise, beside coded photos and plain quantisers at any setting.

rates        bytes at equal answers, of a classifier on photos
coder        the entropy coder alone, beside its own ideal and Zstandard
cpu          time to encode and decode; calibration: time to make tables
scorecard    how long a build with six cuts and 300 samples takes
tiny         an image and a keyword network of a few kilobytes
voice        voice activity: what crosses before the recurrent part
guard        the scorecard keeps away from what ruins answers

What the parts measure with:

curve        the least bytes that keep the answers, and how sure that is
subject      a classifier with its photos: folder reads photos, pixels finds out how they become its input
places       where it is cut; split: what is sent there
media        photos as files; integers: 2 to 8 bits a value; klt: ours; families: their settings on a subject
speech       words and sentences to listen to
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from splitinfer.bench.codecs.subject import Given, Subject
from splitinfer.bench.rows import Row

Tell = Callable[[str], None]
"""Hears what is going on, for people."""

PARTS = ("rates", "coder", "cpu", "calibration", "scorecard", "tiny", "voice", "guard")


def parts(given: Given, tell: Tell = lambda _text: None) -> dict[str, Callable[[], list[Row]]]:
    """The parts of the benchmark by name, in order; each measures when it is called.

    Args:
        given: photos and models.
        tell: progress.
    """
    subject = Subject(given, tell)
    return {name: _part(name, subject) for name in PARTS}


def _part(module: str, subject: Subject) -> Callable[[], list[Row]]:
    """Imports its module when it is called: the times of one must not pay for what another loads."""

    def measure() -> list[Row]:
        rows: list[Row] = import_module(f"{__name__}.{module}").measure(subject)
        return rows

    return measure
