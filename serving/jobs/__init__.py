"""Long work beside the service: one process at a time, which outlives whoever started it."""
