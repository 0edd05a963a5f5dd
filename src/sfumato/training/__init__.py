"""Training: one loop for every task, exact resume, and a run folder that holds everything."""
