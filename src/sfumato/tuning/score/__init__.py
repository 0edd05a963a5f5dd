"""How good the steps of a tuning are, and which is kept."""
