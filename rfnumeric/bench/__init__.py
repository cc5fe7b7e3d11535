"""How fast it is: benchmarks found and timed, held to targets and bounds, and reported (`rfnumeric bench`)."""
