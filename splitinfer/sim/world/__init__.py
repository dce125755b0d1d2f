"""A device, its link and its cloud in virtual time: the deciding code is the device's own, everything around it is simulated.

agenda     what happens when
link       an uplink over a trace: queue, slow start, a radio that sleeps, cancelled uploads
cloud      a pool of tails that others use too
device     carries out a request's flow in virtual time
oracle     the one who knows the future
workload   a model, a device and a cloud as figures
world      one run: seed in, log out
"""

from splitinfer.sim.world.held import Finished
from splitinfer.sim.world.workload import WORKLOADS, Workload
from splitinfer.sim.world.world import ORACLE, Run, Setting, simulate, starts_at_ms

__all__ = ["ORACLE", "WORKLOADS", "Finished", "Run", "Setting", "Workload", "simulate", "starts_at_ms"]
