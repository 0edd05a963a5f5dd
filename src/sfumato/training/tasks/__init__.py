"""What is learned: one module a task."""
