"""Measurements, each of which writes the tables and pictures that the docs show."""
