"""Codecs (labels to planes that a network can learn, and back) and the weight maps of their losses."""
