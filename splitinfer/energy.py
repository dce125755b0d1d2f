"""Energy of a device: what computing and the radio add to its idle draw. Everything here is modelled, nothing is measured.

A radio is four states: idle; promotion, before the first byte can leave; active, while bytes leave; and a tail, in which it
stays awake in case more follows. On a cellular link the tail is the price: one isolated upload of 32 KB costs 20 mJ for its
bits and ten joules for what comes after. So an upload is charged with the tail it adds: all of it if the radio slept, else the
time since the last one. Knows no plan and no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Radio:
    """Powers and times of one kind of link.

    Attributes:
        name: as `LinkChanged.radio` says it.
        active_w: while bytes are on their way up.
        nj_per_bit: on top, for each bit up.
        tail_w: awake after the last byte.
        tail_ms: for so long; then it sleeps.
        promotion_w: while it wakes up.
        promotion_ms: for so long, and nothing leaves meanwhile; 0 = it wakes at once.
    """

    name: str
    active_w: float
    nj_per_bit: float
    tail_w: float = 0.0
    tail_ms: float = 0.0
    promotion_w: float = 0.0
    promotion_ms: float = 0.0

    def energy_mj(self, send_ms: float, nbytes: float, idle_ms: float = 0.0) -> float:
        """Millijoules that an upload adds.

        Args:
            send_ms: while bytes leave.
            nbytes: up.
            idle_ms: since the last upload ended.
        """
        return self.active_w * send_ms + self.nj_per_bit * nbytes * 8e-6 + self.wake_mj(idle_ms)

    def wake_mj(self, idle_ms: float) -> float:
        """Millijoules of the promotion, where there is one, and of the tail that an upload now adds."""
        promotion_mj = self.promotion_w * self.promotion_ms if self.sleeps(idle_ms) else 0.0
        return promotion_mj + self.tail_w * min(max(idle_ms, 0.0), self.tail_ms)

    def sleeps(self, idle_ms: float) -> bool:
        """Whether the first byte has to wait for a promotion."""
        return idle_ms >= self.tail_ms


WIFI = Radio("wifi", active_w=0.8, nj_per_bit=30.0, tail_w=0.119, tail_ms=238.0)
LTE = Radio("lte", active_w=0.59, nj_per_bit=76.7, tail_w=1.0, tail_ms=10_000.0, promotion_w=1.21, promotion_ms=260.0)
UMTS = Radio("3g", active_w=0.8, nj_per_bit=400.0, tail_w=0.8, tail_ms=8_000.0, promotion_w=0.66, promotion_ms=582.0)
NR = Radio("5g", active_w=0.86, nj_per_bit=32.2, tail_w=0.8, tail_ms=10_500.0, promotion_w=1.21, promotion_ms=260.0)
SATELLITE = Radio("satellite", active_w=0.8, nj_per_bit=30.0, tail_w=0.119, tail_ms=238.0)
WIRED = Radio("wired", active_w=0.0, nj_per_bit=0.0)
"""LTE and 5G bits: regression on the SIGCOMM'21 5G data set (Samsung S20 Ultra). Tails and promotions: Huang et al., "A close
examination of performance and power characteristics of 4G LTE networks", MobiSys 2012; 5G tail: three cycles of the SIGCOMM'21
RRC recordings. 3G bits: fitted to the same paper's alpha (869 mW per Mbit/s) at the rates of uplinks now. A terminal of a
satellite is reached over WiFi; its own 50 to 90 W are not the device's."""

RADIOS: Mapping[str, Radio] = MappingProxyType({radio.name: radio for radio in (WIFI, LTE, UMTS, NR, SATELLITE, WIRED)})
"""Replace it, whole or in part, in `Power`."""


@dataclass(frozen=True, slots=True)
class Power:
    """Energy model of a device.

    Attributes:
        compute_w: running inference, above idle. Raspberry Pi 4: busy 5.2 W less idle 2.5 W at the USB supply.
        idle_w: the rest of the device; no plan changes it, but the battery pays it.
        radios: by name.
    """

    compute_w: float = 2.7
    idle_w: float = 2.5
    radios: Mapping[str, Radio] = field(default_factory=lambda: RADIOS, hash=False)

    def __reduce__(self) -> tuple[type[Power], tuple[float, float, dict[str, Radio]]]:
        """For other processes, which a read-only view cannot be sent to."""
        return Power, (self.compute_w, self.idle_w, dict(self.radios))

    def radio(self, name: str | None) -> Radio:
        """One kind of link; what is unknown is taken for WiFi."""
        return self.radios.get(name or WIFI.name) or self.radios.get(WIFI.name, WIFI)

    def energy_mj(
        self, compute_ms: float, send_ms: float, nbytes: float, radio: str | None = None, idle_ms: float = 0.0
    ) -> float:
        """Millijoules of one request, idle draw apart.

        Args:
            compute_ms: on the device.
            send_ms: while bytes leave.
            nbytes: up; 0 = the radio is left alone.
            radio: kind of link.
            idle_ms: since the last upload ended; infinity = there was none.
        """
        sending = self.radio(radio).energy_mj(send_ms, nbytes, idle_ms) if nbytes else 0.0
        return self.compute_w * compute_ms + sending
