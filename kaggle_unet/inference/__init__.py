"""From models and inputs to planes of probabilities: flips, ensembles, batches."""
