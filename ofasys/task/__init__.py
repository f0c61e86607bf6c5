"""What to learn: tasks, where their rows come from, in which order, at which steps."""
