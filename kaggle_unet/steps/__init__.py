"""One verb per file; the only package in which all stages meet."""
