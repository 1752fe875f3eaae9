"""Run-length codes, labels and overlapping masks: the data that all other packages work on."""
