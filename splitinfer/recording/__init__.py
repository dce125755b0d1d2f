"""A scheduler's life as a file: what it was told and what it said, exactly, so that it can be lived again.

A recording is JSON Lines. The first line says what the scheduler was made of (`Start`), each other line is one event with its
number and its time. Some events are what the scheduler was told, some are what it answered (`ANSWERS`): a new one that is told
the same answers the same, and one with another policy answers what that would have done.

start     what a scheduler was made of
forms     values as JSON, and back
lines     events and starts as lines, and back
journal   writes
reader    reads
replay    lives it again, and finds the first difference
compared  lives it again beside another policy
"""

from splitinfer.recording.compared import Asked, Compared, compare
from splitinfer.recording.journal import Journal
from splitinfer.recording.reader import Recording, read
from splitinfer.recording.replay import ANSWERS, Difference, replay
from splitinfer.recording.start import Start

__all__ = ["ANSWERS", "Asked", "Compared", "Difference", "Journal", "Recording", "Start", "compare", "read", "replay"]
