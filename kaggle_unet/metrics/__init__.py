"""The competitions' scores and the literature's, from counts of shared pixels, compared in integers: docs/scores.md."""
