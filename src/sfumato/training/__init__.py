"""Training: one loop for every task, exact to resume, in a run folder that holds everything."""
