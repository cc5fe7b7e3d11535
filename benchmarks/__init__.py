"""Benchmarks in asv's shape; ``rfnumeric bench`` runs them too, interleaved and with bounds and peers.

One file a topic; ``python benchmarks/<topic>.py`` runs one by itself. The conventions are those of
`rfnumeric.bench.classes`.
"""
