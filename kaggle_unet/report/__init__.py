"""Pictures and pages for people: targets, training curves, the gallery of predictions."""
