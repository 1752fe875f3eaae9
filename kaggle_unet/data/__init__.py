"""Inputs, augmentation, mosaics, folds, and torch datasets over the store."""
