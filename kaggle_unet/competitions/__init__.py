"""From a competition's files to samples, and from labels to its CSV; the only room that knows the rules of Kaggle."""
