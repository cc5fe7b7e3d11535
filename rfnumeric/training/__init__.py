"""Training runs: settings, the loop, history, checkpoints."""

from rfnumeric.training.config import INPUT_SCALES, PAPER_SIZES, RunConfig
from rfnumeric.training.environment import environment
from rfnumeric.training.history import EpochRecord, best_accuracy, epochs_to_90
from rfnumeric.training.loop import train
from rfnumeric.training.metrics import METRICS, Metrics, measure, measure_batch, measure_run
from rfnumeric.training.optimizers import OPTIMIZERS, SCHEDULES, Optimizer, get_optimizer
from rfnumeric.training.run import Member, Run, history_lines

__all__ = [
    "INPUT_SCALES",
    "METRICS",
    "OPTIMIZERS",
    "PAPER_SIZES",
    "SCHEDULES",
    "EpochRecord",
    "Member",
    "Metrics",
    "Optimizer",
    "Run",
    "RunConfig",
    "best_accuracy",
    "environment",
    "epochs_to_90",
    "get_optimizer",
    "history_lines",
    "measure",
    "measure_batch",
    "measure_run",
    "train",
]
