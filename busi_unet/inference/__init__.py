"""How far a prediction may be trusted."""
