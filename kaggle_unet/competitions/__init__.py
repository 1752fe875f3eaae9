"""From a competition's files to samples, and from labels to its CSV; the only package that knows Kaggle's rules."""
