"""One verb per file; the only place where the stages meet."""
