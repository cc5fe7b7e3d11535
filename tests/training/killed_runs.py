"""Runs that are killed at random moments; run by `test_resume.py` in a process of its own, which forks them.

``python killed_runs.py RULE FOLDER SEED KILLS`` starts the run in FOLDER again and again and kills each after a while.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from test_resume import rule_config
from training_helpers import tiny_dataset

from rfnumeric.training import train

EPOCHS = 60


def settings(name):
    return rule_config(name, epochs=EPOCHS, bias=True)


def main(name: str, out: Path, seed: int, kills: int) -> None:
    rng, dataset = random.Random(seed), tiny_dataset()
    train(rule_config(name, epochs=1, bias=True), dataset)  # compiles
    started = time.perf_counter()
    train(rule_config(name, epochs=5, bias=True), dataset, out=out / "timed")
    epoch = (time.perf_counter() - started) / 5
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            train(settings(name), dataset, out=out / "run", resume=True)
            os._exit(0)
        time.sleep(rng.uniform(0, EPOCHS * epoch / kills))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else f"ended {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
