"""What a person sees of a run: labels, figures, a report, a terminal."""
