"""What the first bytes of an upload wait for: a connection that has just begun, and a radio that sleeps.

Kept apart from the rate, which it would blacken: fifty kilobytes on a fresh connection look like 3 Mbit/s on a link of 20.
Knows no clock: time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from splitinfer.energy import Radio
from splitinfer.estimate.link import Transfer
from splitinfer.plan import Uplink

WINDOW_FIRST_BYTES = 14_480.0
"""Ten segments of 1448 bytes: what TCP sends before the first acknowledgement (RFC 6928)."""
WINDOW_OPEN_BYTES = 131_072.0
"""A window of this size hides the round trip of 20 Mbit/s and 50 ms: the connection counts as warm."""
WAKE_WEIGHT = 0.3
"""Of one wake-up in what is believed of the next."""
WAKE_MAX_MS = 3_000.0


@dataclass(frozen=True, slots=True)
class Opening:
    """How far the connection has opened, and how long the radio takes to wake.

    Attributes:
        window_bytes: that may be on their way; None = it is warm.
        wake_ms: as it was measured; None = not yet, the radio's own figure holds.
        used_at_ms: when the last upload ended.
    """

    window_bytes: float | None = None
    wake_ms: float | None = None
    used_at_ms: float = -inf

    def fresh(self) -> Opening:
        """A new connection."""
        return replace(self, window_bytes=WINDOW_FIRST_BYTES)

    def seen(self, link: Uplink, radio: Radio, sleeps: bool) -> Uplink:
        """The link as the next upload will meet it."""
        wake_ms = self._wake_ms(radio) if sleeps else 0.0
        if self.window_bytes is None and not wake_ms:
            return link
        return replace(link, window_bytes=self.window_bytes, wake_ms=wake_ms)

    def ms(self, nbytes: int, link: Uplink, radio: Radio, slept: bool) -> float:
        """What was in the time of an upload of so many bytes that has just ended."""
        return self.seen(link, radio, slept).opening_ms(nbytes)

    def took(self, transfer: Transfer, link: Uplink | None, woken: Radio | None, now_ms: float) -> Opening:
        """Takes an upload in.

        Args:
            transfer: that ended.
            link: what was believed when it began; None = nothing.
            woken: the radio, where it slept before.
            now_ms: when it ended.
        """
        wake_ms = self.wake_ms
        if woken is not None and woken.promotion_ms and link is not None and transfer.complete:
            expected_ms = (
                link.rtt_ms + 8e3 * transfer.nbytes / link.rate_bps + self.seen(link, woken, False).opening_ms(transfer.nbytes)
            )
            excess_ms = min(max(transfer.elapsed_ms - expected_ms, 0.0), WAKE_MAX_MS)
            wake_ms = self._wake_ms(woken) + WAKE_WEIGHT * (excess_ms - self._wake_ms(woken))
        window = None if self.window_bytes is None else self.window_bytes + transfer.nbytes
        return Opening(None if window is None or window >= WINDOW_OPEN_BYTES else window, wake_ms, now_ms)

    def _wake_ms(self, radio: Radio) -> float:
        return radio.promotion_ms if self.wake_ms is None else self.wake_ms
