"""A stream of inputs: those worth inferring, a few in flight, results in the order of the inputs.

While one request is on its way the next one computes; more than two in flight only queue behind each other (measured:
x1.3-1.9 frames a second with two, higher latency with more). Knows no model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT = 2


def in_order(source: Iterable[T], infer: Callable[[T], R], worth: Callable[[T], bool] | None) -> Iterator[R]:
    """Results of the inputs for which `worth` is true, in order.

    Args:
        source: inputs; read one ahead of what is in flight, never more.
        infer: blocking; called from two threads.
        worth: the trigger; None = every input.

    Yields:
        One result for each input that was worth it, at the latest with the next input after it was there, worth it or not.
        What `infer` raises is raised here, in its place.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="splitinfer-stream") as pool:
        try:
            for item in source:
                if worth is None or worth(item):
                    waiting.append(pool.submit(infer, item))
                while waiting and (len(waiting) == IN_FLIGHT or waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
