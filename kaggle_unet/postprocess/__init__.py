"""Planes to labels: the decoder, cleaning and voting."""
