"""A link over time: what goes in comes out at the traced rate, and garbage is refused."""

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.errors import SimulationError
from splitinfer.sim.trace import LinkTrace, Piece

mbps = st.one_of(st.just(0.0), st.floats(0.01, 100).map(lambda x: round(x, 4)))
pieces = st.lists(
    st.builds(
        Piece,
        duration_ms=st.integers(1, 5000).map(float),
        up_bps=mbps.map(lambda x: x * 1e6),
        down_bps=st.none() | mbps.map(lambda x: x * 1e6),
        rtt_ms=st.none() | st.integers(0, 500).map(float),
    ),
    min_size=1,
    max_size=12,
).map(tuple)
traces = st.builds(LinkTrace, name=st.just("t"), pieces=pieces, wraps=st.booleans())
times = st.floats(0, 60_000)
sizes = st.integers(1, 2_000_000)
pure = settings(derandomize=True, deadline=None, max_examples=300)

PHASES = LinkTrace.steps([(10, 8, 20), (5, 0, 20), (10, 2, 60)])


def test_a_megabyte_takes_a_second_at_8_mbit() -> None:
    assert PHASES.finish_ms(0, 1_000_000) == pytest.approx(1000)
    assert PHASES.finish_ms(500, 1_000_000) == pytest.approx(1500)


def test_an_outage_holds_bytes_until_it_ends() -> None:
    # 0.5 MB leave in the last 500 ms at 8 Mbit/s, the other 0.5 MB need 2 s at 2 Mbit/s after the outage.
    assert PHASES.finish_ms(9_500, 1_000_000) == pytest.approx(17_000)
    assert PHASES.finish_ms(12_000, 250) == pytest.approx(15_001)


def test_the_last_step_holds_where_it_does_not_wrap() -> None:
    assert PHASES.rate_bps(1e7) == 2e6
    assert PHASES.next_change_ms(20_000) == inf
    assert PHASES.finish_ms(100_000, 250_000) == pytest.approx(101_000)


def test_a_wrapping_trace_starts_again() -> None:
    again = LinkTrace.steps([(10, 8, 20), (5, 0, 20), (10, 2, 60)], wraps=True)
    assert again.rate_bps(25_000) == 8e6
    assert again.next_change_ms(26_000) == pytest.approx(35_000)
    assert again.finish_ms(24_000, 1_250_000) == pytest.approx(26_000)  # 0.25 MB, then 1 MB


def test_a_dead_link_never_delivers() -> None:
    for wraps in (True, False):
        assert LinkTrace.steps([(1, 0, 0)], wraps=wraps).finish_ms(5, 1) == inf
    dead = LinkTrace.steps([(1, 1, 0), (1, 0, 0)])
    assert dead.finish_ms(1500, 1) == inf
    assert dead.finish_ms(dead.finish_ms(1500, 1), 1) == inf, "nor what waits behind that"


def test_bytes_that_end_with_a_piece_do_not_wait_for_the_outage_behind_it() -> None:
    assert PHASES.finish_ms(0, 10_000_000) == pytest.approx(10_000)


def test_rtt_and_rate_are_those_of_the_moment() -> None:
    assert (PHASES.at(9_999).rtt_ms, PHASES.at(10_000).up_bps, PHASES.at(15_000).rtt_ms) == (20, 0, 60)
    with pytest.raises(ValueError, match="starts at 0"):
        PHASES.at(-1)


@pure
@given(traces, times, sizes)
def test_finish_inverts_bits(trace: LinkTrace, start_ms: float, nbytes: int) -> None:
    end_ms = trace.finish_ms(start_ms, nbytes)
    if end_ms == inf:
        assert trace.bits(start_ms + 1e9) - trace.bits(start_ms) < 8 * nbytes
    else:
        assert trace.bits(end_ms) - trace.bits(start_ms) == pytest.approx(8 * nbytes, rel=1e-6, abs=1e-2)


@pure
@given(traces, times, sizes, sizes, st.floats(0, 5000))
def test_finish_is_monotone_and_additive(trace: LinkTrace, start_ms: float, a: int, b: int, later_ms: float) -> None:
    first_ms = trace.finish_ms(start_ms, a)
    assert start_ms <= first_ms <= trace.finish_ms(start_ms, a + b)
    assert first_ms <= trace.finish_ms(start_ms + later_ms, a) + 1e-6
    if first_ms < inf:
        both_ms = trace.finish_ms(start_ms, a + b)
        assert trace.finish_ms(first_ms, b) == (both_ms if both_ms == inf else pytest.approx(both_ms, rel=1e-6, abs=1e-3))


@pure
@given(pieces, st.integers(0, 30_000), sizes, st.integers(1, 50))
def test_a_pass_later_is_a_pass_later(some: tuple[Piece, ...], start_ms: int, nbytes: int, passes: int) -> None:
    trace = LinkTrace("t", some)
    shift_ms = passes * trace.duration_ms
    assert trace.at(start_ms + shift_ms) == trace.at(start_ms)
    end_ms = trace.finish_ms(start_ms, nbytes)
    later_ms = trace.finish_ms(start_ms + shift_ms, nbytes)
    assert later_ms == (inf if end_ms == inf else pytest.approx(end_ms + shift_ms, abs=1e-3))


@pure
@given(traces, st.floats(0, 20_000))
def test_pieces_follow_one_another(trace: LinkTrace, at_ms: float) -> None:
    change_ms = trace.next_change_ms(at_ms)
    assert change_ms > at_ms
    if change_ms < inf:
        assert trace.at((at_ms + change_ms) / 2) == trace.at(at_ms)


@pure
@given(traces)
def test_a_file_gives_the_trace_back(trace: LinkTrace) -> None:
    back = LinkTrace.parse(trace.text())
    assert back.text() == trace.text()
    assert (back.wraps, len(back.pieces)) == (trace.wraps, len(trace.pieces))
    for a, b in zip(trace.pieces, back.pieces, strict=True):
        assert (b.duration_ms, b.up_bps) == (pytest.approx(a.duration_ms, abs=1e-3), pytest.approx(a.up_bps, abs=1))
        assert b.rtt_ms == a.rtt_ms
        assert (a.down_bps is None) == (b.down_bps is None)


def test_the_header_of_a_recording_is_kept() -> None:
    text = (
        "#: name=bus; source=Some set (A, B 2013) x0.5; licence=MIT; resolution_s=1; piecewise constant, wraps\n"
        "t_s,up_mbps\n0,0.5\n0.5,0\n1,2\n"
    )
    trace = LinkTrace.parse(text)
    assert (trace.name, trace.licence, trace.resolution_s, trace.wraps) == ("bus", "MIT", 1.0, True)
    assert trace.source == "Some set (A, B 2013) x0.5"
    assert [p.duration_ms for p in trace.pieces] == [500, 500, 1000]  # the last one lasts resolution_s
    assert trace.scaled(2).rate_bps(1500) == 4e6


def test_of_lines_with_one_time_the_last_holds() -> None:
    trace = LinkTrace.parse("t_s,up_mbps\n0,1\n1,5\n1,3\n2,4\n")
    assert [p.up_bps for p in trace.pieces] == [1e6, 3e6, 4e6]
    assert not trace.wraps


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a trace"),
        ("\x00\x01garbage", "not a trace"),
        ("t_s,up_mbps\n", "not a trace"),
        ("up_mbps,t_s\n1,0\n", "not a trace"),
        ("t_s,up_mbps\n0,fast\n", "line 2.*'fast' is not a number"),
        ("t_s,up_mbps\n0\n", "line 2.*1 values for 2"),
        ("t_s,up_mbps\n0,\n", "line 2.*must give"),
        ("t_s,up_mbps\n5,1\n6,1\n", "line 2.*start at 0"),
        ("# lift\nt_s,up_mbps\n0,1\n2,1\n1,1\n", "line 5.*never go back"),
        ("t_s,up_mbps\n0,-1\n", "line 2.*'-1'"),
        ("t_s,up_mbps\n0,1\n1,nan\n", "line 3.*'nan'"),
        ("t_s,up_mbps\n0,inf\n", "line 2.*'inf'"),
        ("t_s,up_mbps\n0,1e12\n", "line 2.*from 0 to 1e.09, got '1e12'"),
        ("t_s,up_mbps\n0,1\nnan,1\n", "line 3.*'nan'"),
        ("#: resolution_s=-5\nt_s,up_mbps\n0,1\n", "header.*'-5'"),
        ("#: duration_s=0\nt_s,up_mbps\n0,1\n1,1\n", "longer than 0"),
        ("#: resolution_s=often\nt_s,up_mbps\n0,1\n", "header.*'often'"),
    ],
)
def test_what_is_not_a_trace_is_refused(text: str, why: str) -> None:
    with pytest.raises(SimulationError, match=why):
        LinkTrace.parse(text)


def test_a_file_that_cannot_be_read_is_refused(tmp_path) -> None:
    with pytest.raises(SimulationError, match="cannot read"):
        LinkTrace.read(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SimulationError, match="cannot read"):
        LinkTrace.read(tmp_path / "bytes.csv")
    (tmp_path / "lift.csv").write_text("t_s,up_mbps\n0,1\n")
    assert LinkTrace.read(tmp_path / "lift.csv").name == "lift"


@given(st.text(alphabet="#:;=,.\n0123456789-et_supmb naif", max_size=200))
@settings(derandomize=True, deadline=None, max_examples=500)
def test_any_text_gives_a_trace_or_a_typed_error(text: str) -> None:
    try:
        trace = LinkTrace.parse("t_s,up_mbps\n" + text)
    except SimulationError:
        return
    assert trace.duration_ms > 0


def test_a_trace_holds_something() -> None:
    with pytest.raises(SimulationError, match="at least one"):
        LinkTrace("empty", ())
    with pytest.raises(SimulationError, match="line breaks"):
        LinkTrace("a\nb", (Piece(1, 1),))
