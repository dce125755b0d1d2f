"""Reads the battery from /sys/class/power_supply (Linux). Knows no policy: a reading is a `PowerRead`, nothing more."""

from __future__ import annotations

from pathlib import Path

from splitinfer.events import PowerRead

SYSFS = Path("/sys/class/power_supply")
_CHARGING = {"Charging": True, "Full": True, "Not charging": True, "Discharging": False}


def read_power(root: Path = SYSFS) -> PowerRead:
    """Charge and charger of the first battery; `PowerRead(None, None)` where there is none (mains).

    "Not charging" is on mains too: the battery is held where it is. A status that is not known is None.

    https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-class-power: `type`, `capacity` (percent), `status`.
    """
    for supply in sorted(root.glob("*")) if root.is_dir() else ():
        if _text(supply / "type") != "Battery" or _text(supply / "scope") == "Device":
            continue
        capacity = _text(supply / "capacity")
        if capacity.isdigit():
            return PowerRead(min(int(capacity), 100) / 100, _CHARGING.get(_text(supply / "status")))
    return PowerRead(None, None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
