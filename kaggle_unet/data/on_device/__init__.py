"""Batches made where the network computes: samples live there in 8 bits, torch does all that is done to them."""
