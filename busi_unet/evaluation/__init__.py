"""Metrics, evaluation of a model, subgroups, leakage check and robustness."""
