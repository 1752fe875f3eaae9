"""Pictures and HTML pages: targets, training curves, the gallery of predictions."""
