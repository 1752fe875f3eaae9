"""Fitting one fold: a short loop on Lightning Fabric, what the device decides, schedules, records, resuming."""
