"""Which plan to take. Pure: a policy knows no clock and no event.

table          plans as rows and columns; what a joule is worth; what may be chosen at all
rule           what a policy is, and what it answers
thompson       a draw from what is believed of the link; the default
robust         the least expected cost over the distribution of the link
neurosurgeon   the least latency at one rate: the rival
linucb         learns latencies and no model of the link: another rival
static         always the same plan
names          from a name to a policy
"""

from splitinfer.policy.linucb import LinUCB
from splitinfer.policy.names import belief, policy
from splitinfer.policy.neurosurgeon import Neurosurgeon
from splitinfer.policy.robust import Forecast, Robust, forecast
from splitinfer.policy.rule import Decision, Learner, Policy
from splitinfer.policy.static import Static
from splitinfer.policy.table import RACE_MARGIN, Table, hedges, in_saver, is_critical, local_plan, price
from splitinfer.policy.thompson import Thompson

__all__ = [
    "RACE_MARGIN",
    "Decision",
    "Forecast",
    "Learner",
    "LinUCB",
    "Neurosurgeon",
    "Policy",
    "Robust",
    "Static",
    "Table",
    "Thompson",
    "belief",
    "forecast",
    "hedges",
    "in_saver",
    "is_critical",
    "local_plan",
    "policy",
    "price",
]
