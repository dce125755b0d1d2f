"""A build says of every plan how much of the input leaks; the deeper the cut, the less."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitinfer.build import BuildOptions, ImageInput, build
from splitinfer.bundle import Bundle
from splitinfer.plan import Plan
from tests.models import chain, save
from tests.pictures import picture_net, pictures

CODECS = ("raw", "raw+zstd1", "half", "int4", "int4+zstd1", "png", "jpeg:75")


def built(folder: Path) -> Bundle:
    image = ImageInput("x", mean=(127,), std=(128,))
    options = BuildOptions(samples={"x": pictures(40)}, image_input=image, cuts=("r1", "r3", "g"), codecs=CODECS)
    return build(save(picture_net(), folder), folder / "bundle", options)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    return built(tmp_path_factory.mktemp("leak"))


def test_every_plan_says_how_much_leaks(bundle):
    leaks = [score.leak_at_least for score in bundle.scorecard.scores.values()]
    assert None not in leaks
    assert {leak.n for leak in leaks} == {20}
    assert len({leak.baseline_ssim for leak in leaks}) == 1


def test_deeper_cuts_leak_less(bundle):
    ssims = [bundle.scorecard.scores[Plan(cut, "raw")].leak_at_least.ssim for cut in range(4)]
    assert ssims[0] == pytest.approx(1)
    assert ssims == sorted(ssims, reverse=True)
    assert ssims[1] > 0.9


def test_a_lossy_codec_leaks_less_and_a_byte_compressor_as_much(bundle):
    leaks = {plan: score.leak_at_least for plan, score in bundle.scorecard.scores.items()}
    assert leaks[Plan(1, "int4")].psnr_db < leaks[Plan(1, "half")].psnr_db
    assert leaks[Plan(1, "int4")] == leaks[Plan(1, "int4+zstd1")]
    assert leaks[Plan(0, "png")] == leaks[Plan(0, "raw")]
    assert leaks[Plan(0, "jpeg:75")].psnr_db < leaks[Plan(0, "png")].psnr_db == 100


def test_without_samples_nothing_is_said(tmp_path):
    scorecard = build(save(chain(), tmp_path), tmp_path / "bundle", BuildOptions(cuts=("b",))).scorecard
    assert {score.leak_at_least for score in scorecard.scores.values()} == {None}
