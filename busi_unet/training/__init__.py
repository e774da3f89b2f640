"""Learning from data and judging what was learnt: losses, training, metrics, evaluation, curves."""
