"""Training: from a configuration to a run's folder, step by step."""
