"""What is answered: a file a subject, each with a `router`."""
