"""The text of run-length codes: digits, one byte each."""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit

SPACE, LINE_FEED, ZERO = 32, 10, 48

# What `read_codes` gives for codes that it cannot read.
UNREADABLE = -1

# Eighteen digits always fit 64 bits, also as the sum of a start and a length.
MOST_DIGITS = 18


@jit
def write_codes(runs: NDArray[np.int64], firsts: NDArray[np.int64], text: NDArray[np.uint8]) -> int:
    """Write ``start length start length …``, 1-based, a line per instance, from the end of a text to its beginning.

    Must hold: every instance has a run, and the capacity is two numbers and two separators for each run. Backwards,
    because digits come up from the last to the first: how many there are need not be known.
    """
    byte = len(text)
    for instance in range(firsts.shape[0] - 2, -1, -1):
        separator = LINE_FEED
        for run in range(firsts[instance + 1] - 1, firsts[instance] - 1, -1):
            for column in range(1, -1, -1):
                byte -= 1
                text[byte] = separator
                separator = SPACE
                number = runs[run, column] + 1 - column
                while number >= 10:  # two digits at a time
                    rest = number // 100
                    pair = number - 100 * rest
                    tens = pair * 103 >> 10  # pair // 10
                    text[byte - 1] = ZERO + pair - 10 * tens
                    text[byte - 2] = ZERO + tens
                    byte -= 2
                    number = rest
                if number > 0:
                    byte -= 1
                    text[byte] = ZERO + number
    return byte


@jit
def read_codes(text: NDArray[np.uint8], n_px: int, runs: NDArray[np.int64], firsts: NDArray[np.int64]) -> int:
    """Read the runs of codes, a line each, if they are plain and break no rule."""
    run = code = 0
    start, end = 0, 1  # of the last run, 1-based; `start` is 0 where a new run begins
    number = n_digits = 0
    firsts[0] = 0
    for byte in text:
        if ZERO <= byte < ZERO + 10:
            number = 10 * number + int(byte) - ZERO
            n_digits += 1
            if n_digits > MOST_DIGITS:
                return UNREADABLE
            continue
        if n_digits > 0 and start == 0:
            if number < end:
                return UNREADABLE
            start = number
        elif n_digits > 0:
            end = start + number
            if number == 0 or end - 1 > n_px:
                return UNREADABLE
            runs[run, 0] = start - 1
            runs[run, 1] = number
            run += 1
            start = 0
        number = n_digits = 0
        if byte == LINE_FEED:
            if start != 0 or code == firsts.shape[0] - 1:
                return UNREADABLE
            code += 1
            firsts[code] = run
            end = 1
        elif byte != SPACE:
            return UNREADABLE
    return run if code == firsts.shape[0] - 1 else UNREADABLE
