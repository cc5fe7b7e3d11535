"""The embedded data set mnist-5k (README.md says what it is); ``rfnumeric.datasets.load("mnist-5k")`` reads it."""
