"""Many runs of the simulated world, and what they say together: a workload over traces, under several policies.

asked    which policies over which links
course   what became of one run, as columns
crew     runs everything, on all cores
figures  runs in numbers, families of traces weighing equally
verdict  what is best where, in words
"""

from splitinfer.sim.study.asked import Link, Study, Way, links_in, named_ways
from splitinfer.sim.study.course import Course
from splitinfer.sim.study.crew import Results, conduct
from splitinfer.sim.study.figures import Figures, figures, links_of, quantiles
from splitinfer.sim.study.verdict import Verdict, verdict

__all__ = [
    "Course",
    "Figures",
    "Link",
    "Results",
    "Study",
    "Verdict",
    "Way",
    "conduct",
    "figures",
    "links_in",
    "links_of",
    "named_ways",
    "quantiles",
    "verdict",
]
