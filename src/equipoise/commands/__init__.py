"""Commands in modules of their own: each has a `main` that takes the words after its name, and gives the exit code."""
