"""What decides a run: its settings, their defaults and bounds, and which of them go together."""
