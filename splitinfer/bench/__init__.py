"""What is measured and on what: the demo's network and photos, and the benchmarks. Needs the extra `demo`."""
