"""Numbers that look random, and are the same on every machine and in every order."""

from __future__ import annotations

from itertools import product
from math import exp, isfinite
from statistics import fmean, pstdev

import pytest

from splitinfer import draw
from splitinfer.draw import bits, exponential, normal, uniform

N = 4_000
GOLDEN_UNIFORM = [0.016788294528156222, 0.9007606806068834, 0.6119480962583931, 0.9027352708407611]
GOLDEN_NORMAL = [-0.279762796054254, -2.1251201448166217, 1.2858980659349784]
GOLDEN_EXPONENTIAL = 4.0870733896954095


def test_bits_are_those_of_splitmix64() -> None:
    """Sebastiano Vigna's reference code, seeds 0 and 1234567."""
    assert bits(0) == 0xE220A8397B1DCDAF
    assert [bits(1234567, place) for place in range(5)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_golden_values() -> None:
    assert [uniform(7, 1), uniform(7, 2), uniform(8, 1), uniform(7, 1, 2)] == GOLDEN_UNIFORM
    assert [normal(7, place) for place in range(3)] == pytest.approx(GOLDEN_NORMAL, abs=1e-12)
    assert exponential(7, 1) == pytest.approx(GOLDEN_EXPONENTIAL, abs=1e-12)


def test_a_draw_depends_on_where_it_is_used_and_not_on_what_was_drawn_before() -> None:
    before = uniform(3, 10)
    for place in range(50):
        normal(3, place)
    assert uniform(3, 10) == before


def test_seeds_may_be_negative_or_huge() -> None:
    assert len({bits(seed) for seed in (-1, 0, 1, 2**63, 2**64 - 2, 10**30)}) == 6
    assert bits(-1) == bits(2**64 - 1)


def test_places_do_not_collide() -> None:
    places = [(a,) for a in range(40)] + [(a, b) for a, b in product(range(40), range(40))]
    assert len({bits(0, *place) for place in places}) == len(places)
    assert len({bits(seed, place) for seed, place in product(range(100), range(1, 40))}) == 100 * 39


def test_uniform_moments() -> None:
    values = [uniform(1, place) for place in range(N)]
    assert fmean(values) == pytest.approx(0.5, abs=0.02)
    assert pstdev(values) == pytest.approx(12**-0.5, abs=0.01)
    assert [sum(k / 4 <= value < (k + 1) / 4 for value in values) for k in range(4)] == pytest.approx([N / 4] * 4, rel=0.1)


def test_normal_moments() -> None:
    values = [normal(2, place) for place in range(N)]
    assert fmean(values) == pytest.approx(0.0, abs=0.05)
    assert pstdev(values) == pytest.approx(1.0, abs=0.04)
    assert sum(abs(value) < 1.0 for value in values) / N == pytest.approx(0.683, abs=0.02)


def test_exponential_moments() -> None:
    values = [exponential(3, place) for place in range(N)]
    assert fmean(values) == pytest.approx(1.0, abs=0.05)
    assert sum(value > 1.0 for value in values) / N == pytest.approx(exp(-1), abs=0.02)
    assert min(values) > 0.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda k: uniform(1, k), lambda k: uniform(1, k + 1)),
        (lambda k: uniform(1, k), lambda k: uniform(2, k)),
        (lambda k: uniform(1, 5, k), lambda k: uniform(1, 6, k)),
        (lambda k: uniform(k), lambda k: uniform(k + 1)),
    ],
)
def test_neighbours_know_nothing_of_each_other(one, other) -> None:
    pairs = [(one(k) - 0.5, other(k) - 0.5) for k in range(N)]
    correlation = fmean(a * b for a, b in pairs) * 12
    assert abs(correlation) < 0.05


@pytest.mark.parametrize("all_bits", [0, (1 << 64) - 1])
def test_the_interval_is_open_at_both_ends(monkeypatch: pytest.MonkeyPatch, all_bits: int) -> None:
    monkeypatch.setattr(draw, "bits", lambda seed, *place: all_bits)
    assert 0.0 < uniform(1) < 1.0
    assert isfinite(normal(1))
    assert exponential(1) >= 0.0
