"""Labels to labels: what is put right after decoding."""
