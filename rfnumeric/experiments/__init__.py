"""Experiments, one file a table or figure, and what they share: progress, reports."""
