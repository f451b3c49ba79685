"""Studies: many runs on equal budgets, side by side, and what they show together."""
