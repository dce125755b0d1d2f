"""How much of the input what crosses shows: as words, and as a meter."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

from splitinfer.picture.markup import Markup, label, tag
from splitinfer.picture.numbers import brief
from splitinfer.plan import Leak

METER_WIDTH, METER_HEIGHT = 84.0, 7.0
EXACT_DB = 100.0


def at_least(leak: Leak) -> str:
    """SSIM where there is one, else PSNR; rounded down, since it is said to be at least so much."""
    return f"≥ {int(leak.psnr_db)} dB" if leak.ssim is None else f"≥ {floor(100 * leak.ssim + 1e-9) / 100:.2f}"


def leak_words(leak: Leak) -> str:
    """A leak in a sentence."""
    psnr = "exact" if leak.psnr_db >= EXACT_DB else f"{brief(leak.psnr_db)} dB"
    if leak.ssim is None:
        return f"input rebuilt: {psnr} (a guess: {brief(leak.baseline_psnr_db)} dB)"
    return (
        f"input rebuilt: SSIM {leak.ssim:.2f}, {psnr} "
        f"(a guess: {leak.baseline_ssim or 0.0:.2f}, {brief(leak.baseline_psnr_db)} dB)"
    )


def meter(right: float, y: float, leaks: Sequence[Leak]) -> Markup:
    """The worst leak of some plans: how like the rebuilt inputs are, from 0 to 1, with a line where a mere guess stands.

    Args:
        right: pixel where it ends.
        y: pixel of its middle.
        leaks: at least one.
    """
    worst = max(leaks, key=lambda leak: (leak.ssim or 0.0, leak.psnr_db))
    words = f"leaks {at_least(worst)}"
    if worst.ssim is None:
        return label(right, y + 4, words, "tiny", "end")
    left, top = right - METER_WIDTH, y - METER_HEIGHT / 2
    guess = left + METER_WIDTH * min(max(worst.baseline_ssim or 0.0, 0.0), 1.0)
    bar: dict[str, float] = {"y": top, "height": METER_HEIGHT, "rx": 2}
    full = METER_WIDTH * min(max(worst.ssim, 0.0), 1.0)
    return tag(
        "g",
        tag("title", f"worst plan of this cut: {leak_words(worst)}"),
        tag("rect", x=left, width=METER_WIDTH, fill="var(--shade)", **bar),
        tag("rect", x=left, width=full, fill="var(--accent)", **bar),
        tag("line", x1=guess, x2=guess, y1=top - 3, y2=top + METER_HEIGHT + 3, stroke="var(--ink)", stroke_width=1.4),
        label(left - 6, y + 4, words, "tiny", "end"),
    )
