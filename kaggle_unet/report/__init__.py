"""Pictures and pages for people: previews of targets, curves of training, the gallery of predictions."""
