"""Training of one fold: a short loop on Lightning Fabric, devices, schedules, checkpoints, resuming."""
