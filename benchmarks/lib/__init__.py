"""Models, runs, statistics and result files that several benchmarks share; none of them is a command."""
