"""What is believed of the world, from what requests measured: one module for each thing that is believed.

belief   what the scheduler asks of an estimate of the link
link     the rate and the delay of the uplink
harmonic the same as most systems estimate it
opening  what a fresh connection and a sleeping radio add
load     how busy the cloud is
device   how fast this device is now
drift    whether inputs are still like the samples of the build
"""

from splitinfer.estimate.belief import Belief
from splitinfer.estimate.device import LiveProfile
from splitinfer.estimate.drift import Drift
from splitinfer.estimate.harmonic import Harmonic
from splitinfer.estimate.link import Estimate, Prior
from splitinfer.estimate.load import Load
from splitinfer.estimate.opening import Opening

__all__ = ["Belief", "Drift", "Estimate", "Harmonic", "LiveProfile", "Load", "Opening", "Prior"]
