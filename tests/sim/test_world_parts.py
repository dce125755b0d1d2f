"""The parts of the simulated world, one by one: what happens when, the link, the cloud."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.energy import LTE, WIFI, WIRED, Radio
from splitinfer.errors import SimulationError
from splitinfer.plan import Uplink as Believed
from splitinfer.sim.trace import LinkTrace
from splitinfer.sim.world.agenda import Agenda
from splitinfer.sim.world.cloud import REPEATS_S, Cloud, CloudSetting
from splitinfer.sim.world.link import ON_ITS_WAY_BYTES, OVERHEAD, WINDOW_FIRST_BYTES, Uplink, Upload

# What happens when.


def test_entries_happen_in_the_order_of_time_and_then_of_making() -> None:
    agenda, heard = Agenda(), []
    for at_ms, name in ((5.0, "b"), (1.0, "a"), (5.0, "c"), (9.0, "d")):
        agenda.at(at_ms, lambda name=name: heard.append((agenda.now_ms, name)))
    agenda.run(lambda: len(heard) == 4)
    assert heard == [(1.0, "a"), (5.0, "b"), (5.0, "c"), (9.0, "d")]


def test_an_entry_for_the_past_happens_next_and_time_never_goes_back() -> None:
    agenda, heard = Agenda(), []
    agenda.at(10.0, lambda: agenda.at(3.0, lambda: heard.append(agenda.now_ms)))
    agenda.at(11.0, lambda: heard.append(agenda.now_ms))
    agenda.run(lambda: len(heard) == 2)
    assert heard == [10.0, 11.0]


def test_nothing_is_left_to_happen_and_nobody_has_finished() -> None:
    agenda = Agenda()
    agenda.at(7.0, lambda: None)
    agenda.at(inf, lambda: None)
    with pytest.raises(SimulationError, match=r"deadlock.*7\.0 ms"):
        agenda.run(lambda: False)


def test_the_clock_jumps_only_where_nothing_happens_before() -> None:
    agenda = Agenda()
    agenda.at(10.0, lambda: None)
    assert agenda.jump(9.0)
    assert agenda.now_ms == 9.0
    assert not agenda.jump(10.0)
    assert not agenda.jump(20.0)
    assert agenda.now_ms == 9.0


# The link. One payload byte is 1500/1448 bytes on the wire.


def link(
    *steps: tuple[float, float, float], radio: Radio = WIRED, warm: bool = True, wraps: bool = False
) -> tuple[Agenda, Uplink]:
    """(s, Mbit/s, ms) of each step."""
    agenda = Agenda()
    made = Uplink(agenda, LinkTrace.steps(steps, wraps=wraps), radio)
    if warm:
        made._window = None
    return agenda, made


def send(made: Uplink, nbytes: int) -> tuple[Upload, list[Upload]]:
    departed: list[Upload] = []
    return made.send(nbytes, departed.append), departed


def until(agenda: Agenda, at_ms: float) -> None:
    agenda.at(at_ms, lambda: None)
    agenda.run(lambda: agenda.now_ms >= at_ms)


def wire_ms(nbytes: float, mbps: float) -> float:
    return 8e-3 * nbytes * 1500 / 1448 / mbps


def test_bytes_leave_at_the_rate_of_the_trace() -> None:
    agenda, made = link((1.0, 8.0, 20.0), (1.0, 2.0, 20.0))
    upload, departed = send(made, 100_000)
    assert upload.departs_ms == pytest.approx(wire_ms(100_000, 8.0))
    until(agenda, upload.departs_ms)
    assert departed == [upload]
    assert made.sent_bytes == 100_000


def test_an_upload_that_meets_another_rate_goes_on_at_that_rate() -> None:
    _, made = link((0.05, 8.0, 20.0), (10.0, 2.0, 20.0))
    rest = 100_000 * OVERHEAD - 50_000
    assert send(made, 100_000)[0].departs_ms == pytest.approx(50.0 + 8e-3 * rest / 2.0)


def test_an_outage_is_waited_for() -> None:
    _, made = link((0.05, 8.0, 20.0), (3.0, 0.0, 20.0), (10.0, 8.0, 20.0))
    assert send(made, 100_000)[0].departs_ms == pytest.approx(wire_ms(100_000, 8.0) + 3_000.0)


def test_on_a_link_that_is_dead_for_ever_nothing_leaves() -> None:
    agenda, made = link((0.05, 8.0, 20.0), (1.0, 0.0, 20.0))
    upload, departed = send(made, 100_000)
    assert upload.departs_ms == inf
    until(agenda, 1e6)
    assert departed == []


def test_uploads_leave_in_order_and_none_is_lost() -> None:
    agenda, made = link((100.0, 8.0, 20.0))
    sent = [send(made, nbytes) for nbytes in (100_000, 1_000, 50_000)]
    ends = [upload.departs_ms for upload, _ in sent]
    assert ends == pytest.approx([wire_ms(100_000, 8.0), wire_ms(101_000, 8.0), wire_ms(151_000, 8.0)])
    until(agenda, 1e4)
    assert [len(departed) for _, departed in sent] == [1, 1, 1]
    assert made.sent_bytes == 151_000


def test_a_cancelled_upload_frees_the_queue_but_for_what_was_on_its_way() -> None:
    agenda, made = link((100.0, 8.0, 20.0))
    upload, departed = send(made, 1_000_000)
    until(agenda, 100.0)
    left = made.cancel(upload)
    assert left == pytest.approx(100_000 / OVERHEAD, abs=1)
    assert made.cancel(upload) == upload.nbytes, "a second time nothing happens"
    later, _ = send(made, 1_000)
    assert later.departs_ms == pytest.approx(100.0 + wire_ms(ON_ITS_WAY_BYTES + 1_000, 8.0))
    until(agenda, 1e5)
    assert departed == []
    assert made.sent_bytes == left + 1_000


def test_an_upload_that_has_left_cannot_be_cancelled() -> None:
    agenda, made = link((100.0, 8.0, 20.0))
    upload, departed = send(made, 1_000)
    until(agenda, 50.0)
    assert made.cancel(upload) == 1_000
    assert (departed, upload.cancelled) == ([upload], False)


def test_slow_start_happens_once_a_connection() -> None:
    agenda, made = link((1e4, 20.0, 50.0), warm=False)
    cold, _ = send(made, 100_000)
    assert cold.first
    until(agenda, 1_000.0)
    second, _ = send(made, 100_000)
    assert not second.first
    assert second.departs_ms - 1_000.0 < cold.departs_ms - 30.0
    until(agenda, 1e6)
    for at_ms in (1e6, 3e6):  # a pause does not bring it back
        until(agenda, at_ms)
        send(made, 1_000_000)
    until(agenda, 5e6)
    warm, _ = send(made, 100_000)
    assert warm.departs_ms - 5e6 == pytest.approx(wire_ms(100_000, 20.0))
    until(agenda, 6e6)
    made.reconnect()
    again, _ = send(made, 100_000)
    assert again.first
    assert again.departs_ms - 6e6 == pytest.approx(cold.departs_ms)


@pytest.mark.parametrize("mbps", [1.0, 5.0, 20.0, 100.0])
@pytest.mark.parametrize("nbytes", [5_000, 20_000, 60_000, 150_000, 1_000_000])
def test_what_is_predicted_of_slow_start_is_what_happens(mbps: float, nbytes: int) -> None:
    _, made = link((1e4, mbps, 50.0), warm=False)
    believed = Believed(mbps * 1e6 / OVERHEAD, 0.0, 50.0, window_bytes=WINDOW_FIRST_BYTES)
    predicted_ms = believed.opening_ms(nbytes) + 8e3 * nbytes / believed.rate_bps
    assert send(made, nbytes)[0].departs_ms == pytest.approx(predicted_ms, rel=0.01)


def test_a_radio_that_sleeps_wakes_first() -> None:
    agenda, made = link((1e4, 8.0, 50.0), radio=LTE)
    first, _ = send(made, 10_000)
    assert first.starts_ms == LTE.promotion_ms
    assert first.departs_ms == pytest.approx(LTE.promotion_ms + wire_ms(10_000, 8.0))
    until(agenda, first.departs_ms + LTE.tail_ms - 1.0)
    awake, _ = send(made, 10_000)
    assert awake.starts_ms == agenda.now_ms
    until(agenda, awake.departs_ms + LTE.tail_ms + 1.0)
    assert send(made, 10_000)[0].starts_ms == agenda.now_ms + LTE.promotion_ms


def test_the_idle_time_is_since_the_last_byte_left() -> None:
    agenda, made = link((1e4, 8.0, 50.0), radio=WIFI)
    assert made.idle_ms(0.0) == inf
    upload, _ = send(made, 10_000)
    until(agenda, 1_000.0)
    assert made.idle_ms(1_000.0) == pytest.approx(1_000.0 - upload.departs_ms)


def test_a_trace_that_tells_no_delay_has_the_usual_one_of_its_radio() -> None:
    silent = LinkTrace.parse("t_s,up_mbps\n0,5\n10,5\n")
    assert [Uplink(Agenda(), silent, radio).rtt_ms(0.0) for radio in (WIFI, LTE)] == [12.0, 50.0]
    assert Uplink(Agenda(), silent, replace(LTE, name="pigeon")).rtt_ms(0.0) == 50.0
    assert link((1.0, 5.0, 33.0))[1].rtt_ms(0.0) == 33.0


def test_a_run_may_begin_within_a_trace() -> None:
    trace = LinkTrace.steps([(1.0, 1.0, 10.0), (1.0, 100.0, 90.0)], wraps=True)
    made = Uplink(Agenda(), trace, WIRED, 1_500.0)
    assert (made.rtt_ms(0.0), made.rtt_ms(600.0), made.rtt_ms(1_600.0)) == (90.0, 10.0, 90.0)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.floats(0.05, 5.0), st.floats(0.5, 50.0)), min_size=1, max_size=4),
    st.lists(st.tuples(st.floats(0.0, 500.0), st.integers(1, 300_000), st.none() | st.floats(0.0, 300.0)), max_size=15),
    st.booleans(),
)
def test_no_story_makes_bytes_or_time(steps, story, warm) -> None:
    """Each upload is a pause before it, its size, and when it is cancelled, if it is."""
    agenda, made = link(*((s, mbps, 20.0) for s, mbps in steps), radio=LTE, warm=warm, wraps=True)
    best_bps = max(mbps for _, mbps in steps) * 1e6
    uploads: list[tuple[Upload, list[Upload]]] = []
    for pause_ms, nbytes, cancelled_ms in story:
        until(agenda, agenda.now_ms + pause_ms)
        upload, departed = send(made, nbytes)
        assert upload.departs_ms >= upload.starts_ms >= agenda.now_ms
        uploads.append((upload, departed))
        if cancelled_ms is not None:
            agenda.at(agenda.now_ms + cancelled_ms, lambda upload=upload: made.cancel(upload))
    until(agenda, agenda.now_ms + 1e6)
    for upload, departed in uploads:
        assert departed == ([] if upload.cancelled else [upload])
    assert made.sent_bytes <= sum(upload.nbytes for upload, _ in uploads)
    ends = [upload.departs_ms for upload, _ in uploads if not upload.cancelled]
    assert ends == sorted(ends)
    assert made.sent_bytes * 8 <= best_bps * max([*ends, agenda.now_ms]) / 1e3
    if not any(upload.cancelled for upload, _ in uploads):
        assert made.sent_bytes == sum(upload.nbytes for upload, _ in uploads)


# The cloud.

CALM = CloudSetting(slots=2, wobble=0.0, bursts_per_s=0.0)


def test_requests_wait_when_all_slots_are_taken() -> None:
    cloud = Cloud(CALM, 0)
    served = [cloud.serve(at_ms, 100.0) for at_ms in (0.0, 10.0, 20.0, 30.0, 500.0)]
    assert [each.queue_ms for each in served] == [0.0, 0.0, 80.0, 80.0, 0.0]
    assert [each.done_ms for each in served] == [100.0, 110.0, 200.0, 210.0, 600.0]


def test_to_ask_what_would_be_changes_nothing() -> None:
    cloud = Cloud(CALM, 0)
    cloud.serve(0.0, 100.0)
    cloud.serve(0.0, 100.0)
    assert cloud.expects(10.0, 50.0) == cloud.expects(10.0, 50.0) == cloud.serve(10.0, 50.0)


def test_its_load_is_a_function_of_time_alone() -> None:
    idle, busy = Cloud(CloudSetting(), 3), Cloud(CloudSetting(), 3)
    for step in range(500):
        busy.serve(step * 10.0, 300.0)
    late_first = [busy.slow(second * 1e3) for second in reversed(range(600))]
    assert [idle.slow(second * 1e3) for second in range(600)] == late_first[::-1]
    other = Cloud(CloudSetting(), 4)
    assert [other.slow(second * 1e3) for second in range(600)] != late_first[::-1]


def test_however_late_somebody_asks_it_is_told_soon() -> None:
    busy = Cloud(CloudSetting(), 1)
    assert busy.slow(1e300) >= 1.0
    assert busy.slow(5_000.0) == busy.slow(5_000.0 + REPEATS_S * 1e3)


def test_strangers_come_in_bursts_that_end() -> None:
    cloud = Cloud(CloudSetting(wobble=0.0), 5)
    slow = [cloud.slow(second * 1e3) for second in range(3_000)]
    assert set(slow) == {1.0, 6.0}
    share = slow.count(6.0) / len(slow)
    assert 0.03 < share < 0.2
    first = slow.index(6.0)
    assert slow[first : first + 8] == [6.0] * 8


def test_a_tail_takes_as_long_as_the_cloud_is_slow_when_it_begins() -> None:
    cloud = Cloud(CloudSetting(slots=1), 6)
    for step in range(200):
        at_ms = step * 1_000.0
        served = cloud.serve(at_ms, 20.0)
        assert served.tail_ms == pytest.approx(20.0 * cloud.slow(at_ms + served.queue_ms))
        assert served.done_ms == pytest.approx(at_ms + served.queue_ms + served.tail_ms)


def test_while_it_is_down_nobody_answers() -> None:
    cloud = Cloud(replace(CALM, down=((1_000.0, 2_000.0), (5_000.0, inf))), 0)
    assert [cloud.answers(at_ms) for at_ms in (999.9, 1_000.0, 1_999.9, 2_000.0, 1e9)] == [True, False, False, True, False]
