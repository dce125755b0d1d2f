"""Who is let in: nobody waits for an answer that would come too late, and nobody waits for ever."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.cloud.admission import Admission
from splitinfer.errors import Reason, Refused


def refusal(admission: Admission, service_ms: float, left_ms: float | None) -> Refused | None:
    try:
        admission.check(service_ms, left_ms)
    except Refused as error:
        return error
    return None


async def hold(admission: Admission, service_ms: float, release: asyncio.Event) -> None:
    async with admission.turn(service_ms):
        await release.wait()


async def busy(admission: Admission, requests: int, service_ms: float, release: asyncio.Event) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(hold(admission, service_ms, release)) for _ in range(requests)]
    await asyncio.sleep(0)
    return tasks


def test_an_idle_server_takes_what_fits_the_deadline() -> None:
    admission = Admission(workers=1, queue_max=4)
    assert refusal(admission, service_ms=10, left_ms=11) is None
    assert refusal(admission, service_ms=10, left_ms=None) is None


def test_a_deadline_shorter_than_the_work_is_refused_for_good() -> None:
    refused = refusal(Admission(workers=1, queue_max=4), service_ms=10, left_ms=10)
    assert refused is not None
    assert (refused.reason, refused.retry_after_ms) == (Reason.DEADLINE_TOO_SHORT, None)


def test_a_queue_too_long_for_the_deadline_is_overload_and_says_when_to_come_back() -> None:
    async def scene() -> None:
        admission, release = Admission(workers=2, queue_max=9), asyncio.Event()
        tasks = await busy(admission, 6, 10.0, release)
        # Two run, half done on average; four wait; two threads.
        assert admission.queue_ms == pytest.approx((4 * 10 + 2 * 10 / 2) / 2)
        refused = refusal(admission, service_ms=10, left_ms=35)
        assert refused is not None
        assert (refused.reason, refused.retry_after_ms) == (Reason.OVERLOADED, pytest.approx(25))
        assert refusal(admission, service_ms=10, left_ms=36) is None
        release.set()
        await asyncio.gather(*tasks)
        assert (admission.queue_ms, admission.in_flight) == (0.0, 0)

    asyncio.run(scene())


def test_a_full_queue_refuses_even_without_a_deadline() -> None:
    async def scene() -> None:
        admission, release = Admission(workers=1, queue_max=2), asyncio.Event()
        tasks = await busy(admission, 3, 0.0, release)
        refused = refusal(admission, service_ms=0, left_ms=None)
        assert refused is not None
        assert refused.reason is Reason.OVERLOADED
        release.set()
        await asyncio.gather(*tasks)

    asyncio.run(scene())


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    workers=st.integers(1, 3),
    doomed=st.lists(st.booleans(), min_size=1, max_size=10),
)
def test_cancelled_requests_leave_nothing_behind(workers: int, doomed: list[bool]) -> None:
    async def scene() -> None:
        admission, release = Admission(workers, queue_max=20), asyncio.Event()
        tasks = await busy(admission, len(doomed), 5.0, release)
        for task, cancel in zip(tasks, doomed, strict=True):
            if cancel:
                task.cancel()
        await asyncio.sleep(0)
        release.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(result, asyncio.CancelledError) for result in results] == doomed
        assert (admission.in_flight, admission.queue_ms) == (0, 0.0)
        # All threads are free again.
        again = await busy(admission, workers, 5.0, asyncio.Event())
        assert admission.queue_ms == pytest.approx(5.0 / 2)
        for task in again:
            task.cancel()
        await asyncio.gather(*again, return_exceptions=True)

    asyncio.run(scene())
