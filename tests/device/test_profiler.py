"""What a device finds out about itself before the first request."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from splitinfer.backends.ort import OrtEngine
from splitinfer.bundle import Bundle, trim
from splitinfer.device import profiler
from splitinfer.device.profiler import measure
from splitinfer.plan import Plan, Profile

MB = 1_000_000
HALF = Plan(1, "half")


class Counted:
    """An engine that remembers what it ran."""

    def __init__(self, bundle):
        self._engine = OrtEngine(bundle)
        self.model, self.name = self._engine.model, self._engine.name
        self.ran = []

    def hold(self, at, tensors):
        return self._engine.hold(at, tensors)

    def run(self, start, stop, held, stopper=None):
        self.ran.append(start)
        return self._engine.run(start, stop, held, stopper)


@pytest.fixture
def grows(monkeypatch):
    """Makes the process grow by so much with each segment; None = the system does not tell."""

    def set_(*nbytes):
        class Told:
            def __init__(self):
                self._told = iter(nbytes)

            def nbytes(self):
                return next(self._told)

        monkeypatch.setattr(profiler, "Growth", Told)

    return set_


def reference(bundle: Bundle) -> Profile:
    times = (10.0, 20.0, 40.0)
    return Profile(bundle.digest, "desk", "x", times, {HALF: 2.0}, {HALF: 3.0}, (7.0, 6.0, 4.0, 0.0), (0, MB, 2 * MB, 4 * MB))


def test_what_the_process_grew_by_is_the_memory_of_each_head(bundle_path, grows):
    grows(5 * MB, 6 * MB, 9 * MB)
    bundle = Bundle.open(bundle_path)
    profile = measure(Counted(bundle), reference(bundle), count().__next__)
    assert profile.source == "measured"
    assert profile.peak_bytes == (0, 5 * MB, 6 * MB, 9 * MB)
    assert profile.segment_ms == (1.0, 1.0, 1.0)
    assert profile.encode_ms == {HALF: pytest.approx(2.0 * 3 / 70)}


def test_where_the_system_does_not_tell_the_reference_counts(bundle_path, grows):
    grows(None, None, None)
    bundle = Bundle.open(bundle_path)
    assert measure(Counted(bundle), reference(bundle), count().__next__).peak_bytes == (0, MB, 2 * MB, 4 * MB)
    grows(None, None, None)
    unknown = replace(reference(bundle), peak_bytes=())
    assert measure(Counted(bundle), unknown, count().__next__).peak_bytes == (0, None, None, None)


def test_memory_to_spare_does_not_make_segments_look_small(bundle_path, grows):
    grows(0, 0, 5 * MB)
    bundle = Bundle.open(bundle_path)
    assert measure(Counted(bundle), reference(bundle), count().__next__).peak_bytes == (0, MB, 2 * MB, 5 * MB)


def test_what_the_reference_says_is_too_large_is_not_loaded(bundle_path, grows):
    grows(MB, 2 * MB)
    engine = Counted(Bundle.open(bundle_path))
    profile = measure(engine, reference(Bundle.open(bundle_path)), count().__next__, 3 * MB)
    assert set(engine.ran) == {0, 1}
    assert profile.peak_bytes == (0, MB, 2 * MB, 4 * MB)
    assert profile.segment_ms == (1.0, 1.0, pytest.approx(40 * 2 / 30)), "the last one as the reference has it, scaled"


def test_what_turns_out_too_large_is_the_last_that_is_loaded(bundle_path, grows):
    grows(4 * MB)
    bundle = Bundle.open(bundle_path)
    engine = Counted(bundle)
    profile = measure(engine, replace(reference(bundle), peak_bytes=()), count().__next__, MB)
    assert set(engine.ran) == {0}
    assert profile.peak_bytes == (0, 4 * MB, 4 * MB, 4 * MB), "what was not tried takes at least as much"


def test_what_is_not_held_has_no_time(bundle_path, tmp_path, grows):
    grows(MB, 2 * MB)
    part = trim(Bundle.open(bundle_path), tmp_path / "part", 2)
    engine = Counted(part)
    profile = measure(engine, reference(part), count().__next__)
    assert set(engine.ran) == {0, 1}
    assert profile.segment_ms == (1.0, 1.0, None)


def test_memory_of_this_process_is_measured(bundle_path):
    bundle = Bundle.open(bundle_path)
    peaks = measure(OrtEngine(bundle), None, count().__next__).peak_bytes
    assert len(peaks) == 4
    known = [nbytes for nbytes in peaks if nbytes is not None]
    assert known == sorted(known)
