"""Run-length codes, labels and overlapping masks: the vocabulary everything above speaks."""
