"""The proxy's bottleneck in virtual time: chunks leave when the trace says, to the microsecond."""

import asyncio
import selectors
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.sim.bottleneck import Bottleneck, Chunk, Kind
from splitinfer.sim.trace import LinkTrace, Piece


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        loop = self

        class Selector(selectors.DefaultSelector):
            def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
                assert timeout is not None, "nothing is ready and no timer is set: this would wait for ever"
                loop.now_s += timeout
                return super().select(0)

        super().__init__(Selector())

    def time(self) -> float:
        return self.now_s


def play(trace: LinkTrace, sends: list[tuple[float, int]], delay_ms: float = 0.0) -> list[float]:
    """When chunks (sent_at_ms, nbytes) are due at the other end, over a bottleneck that is turned as the trace says."""
    due_ms: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        link = Bottleneck(queue_bytes=1 << 30)
        everybody = asyncio.Event()

        def deliver(chunk: Chunk, due_s: float) -> None:
            due_ms.append(due_s * 1e3)
            if len(due_ms) == len(sends):
                everybody.set()

        async def turn() -> None:
            at_ms = 0.0
            while at_ms < inf:
                await asyncio.sleep(at_ms / 1e3 - loop.time())
                link.turn(trace.rate_bps(at_ms), delay_ms / 1e3, at_ms / 1e3)
                at_ms = trace.next_change_ms(at_ms)

        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(turn()), tasks.create_task(link.run())]
            for at_ms, nbytes in sends:
                await asyncio.sleep(at_ms / 1e3 - loop.time())
                link.put(Chunk(Kind.DATA, bytes(nbytes), loop.time(), deliver))
            await everybody.wait()
            for task in running:
                task.cancel()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    return due_ms


rates = st.one_of(st.just(0.0), st.integers(100_000, 50_000_000).map(float))
wrapping = st.lists(st.builds(Piece, st.integers(5, 500).map(float), rates), min_size=1, max_size=6).map(
    lambda pieces: LinkTrace("t", (*pieces, Piece(50.0, 1e6)))
)
gaps = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 16384)), min_size=1, max_size=20)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(wrapping, gaps)
def test_chunks_leave_when_the_trace_says(trace: LinkTrace, gaps: list[tuple[int, int]]) -> None:
    at_ms, sends = 0.5, []
    for gap_ms, nbytes in gaps:
        at_ms += gap_ms
        sends.append((at_ms, nbytes))
    wanted, free_at_ms = [], 0.0
    for sent_at_ms, nbytes in sends:
        free_at_ms = trace.finish_ms(max(sent_at_ms, free_at_ms), nbytes)
        wanted.append(free_at_ms)
    assert play(trace, sends) == pytest.approx(wanted, abs=1e-2)


def test_the_delay_is_added_behind_the_queue() -> None:
    trace = LinkTrace.steps([(100, 8, 0)])
    assert play(trace, [(1, 1000), (1, 1000)], delay_ms=25) == pytest.approx([27, 28])


def test_the_queue_says_when_it_is_full() -> None:
    async def main() -> None:
        link = Bottleneck(queue_bytes=1500)
        link.turn(8e6, 0.0, 0.0)
        task = asyncio.ensure_future(link.run())
        seen = []
        for _ in range(2):
            link.put(Chunk(Kind.DATA, bytes(1000), 0.0, lambda chunk, due_s: None))
            seen.append(link.room.is_set())
        await asyncio.wait_for(link.room.wait(), 1)
        assert (seen, link.carried_bytes) == ([True, False], 1000)
        task.cancel()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
