"""Losses, training, calibration, cross-validation, curves."""
