"""The project's own campaign of faults: kills, damaged files, attacks, bad surroundings; run by `scripts/soak`."""
