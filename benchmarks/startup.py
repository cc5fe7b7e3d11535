"""What a user waits for before anything happens: the import and the help text, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import rfnumeric": ["-c", "import rfnumeric"],
    "rfnumeric --help": ["-m", "rfnumeric", "--help"],
}


class Startup:
    """Wall time of a whole process; Python's own start is measured beside it."""

    param_names = ("contestant",)
    params = (list(COMMANDS),)

    def time_process(self, contestant):
        subprocess.run([sys.executable, *COMMANDS[contestant]], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    from rfnumeric.bench.classes import main

    main(__file__)
