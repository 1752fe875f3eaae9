"""Every numba loop: arrays in, arrays filled; nothing is checked and nothing allocated here.

The checked function with the same noun sits in `masks/`, `metrics/`, `targets/` or `postprocess/`, an obvious twin of
each loop in `tests/naive.py`.
"""
