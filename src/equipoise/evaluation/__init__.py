"""Scores of samples beside real images, each with the protocol by which it was computed."""
