"""Losses: cross-entropy, focal loss, soft Dice, Lovász, and their sum over all heads of a network."""
