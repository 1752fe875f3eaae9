"""Segmentation competitions from the zip to the CSV: targets, U-Nets, watershed, RLE, scores."""

__version__ = "0.1.0"
