"""The demo: one timeline, run several ways on real sockets with a real network, and what came of each.

scenario    the timeline: phases of the link, the battery
assets      the trained network as bundles, the photos, the right answers
ways        splitinfer and its rivals, each a policy of the same client
run         one way through the timeline
outcome     numbers from what happened
"""
