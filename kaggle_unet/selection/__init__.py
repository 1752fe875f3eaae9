"""What is learnt from out-of-fold planes: decode parameters, ensemble weights, the second level."""
