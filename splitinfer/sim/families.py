"""What a trace is one of: its kind of radio, and the family of recordings that it belongs to.

A trace may say both itself (`radio=` and `family=` in its header); else the words in its name and source tell.
"""

from __future__ import annotations

import re

from splitinfer.energy import RADIOS
from splitinfer.errors import SimulationError
from splitinfer.sim.trace import LinkTrace

WORDS = (
    ("lte", ("lte", "4g")),
    ("3g", ("umts", "3g", "hsdpa", "hspa", "evdo")),
    ("5g", ("5g", "nr", "mmwave")),
    ("satellite", ("starlink", "satellite")),
    ("wifi", ("wifi", "wi-fi", "wlan")),
    ("wired", ("fcc", "cable", "dsl", "ethernet", "fibre", "fiber")),
)
"""Kind of radio, and the words that tell it; the first that fits."""
ASSUMED = "wifi"
"""Where no word does."""
_BRACKETS = re.compile(r"\s*[(\[][^)\]]*[)\]]")


def radio_of(trace: LinkTrace) -> str:
    """The kind of radio, one of `energy.RADIOS`: what the header says, else what name or source tell, else WiFi.

    Raises:
        SimulationError: the header names one that there is not.
    """
    if trace.radio is not None:
        if trace.radio not in RADIOS:
            raise SimulationError(f"trace {trace.name}: unknown radio={trace.radio!r}; use one of {', '.join(RADIOS)}")
        return trace.radio
    for text in (trace.name, trace.source):
        for radio, words in WORDS:
            if any(_says(text, word) for word in words):
                return radio
    return ASSUMED


def family_of(trace: LinkTrace) -> str:
    """The family: what the header says, else the source without what is in brackets, else the trace's name."""
    if trace.family is not None:
        return trace.family
    return " ".join(_BRACKETS.sub(" ", trace.source).split()) or trace.name


def _says(text: str, word: str) -> bool:
    """Whether a word stands in a text; a number may follow it ("fcc-01", "lte2"), no other letter."""
    return re.search(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z])", text.lower()) is not None
