"""Every numba loop: arrays in, arrays filled; nothing is checked and nothing allocated here.

The function that checks a kernel's arguments is in `masks/`, `metrics/`, `targets/` or `postprocess/`; a simple
reference version of each loop is in `tests/naive.py`.
"""
