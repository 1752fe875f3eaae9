"""The command line: read options, call one step, print its result.

Nothing heavy is imported before a verb needs it, so that `--help` answers at once.
"""

from kaggle_unet.cli.app import main

__all__ = ["main"]
