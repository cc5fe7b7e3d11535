"""One training run from the command line: progress, table, files."""

from __future__ import annotations

from pathlib import Path

from rfnumeric.datasets import Dataset
from rfnumeric.experiments.progress import run_progress
from rfnumeric.experiments.report import diagnoses, draw_metrics, report, runs_table, show
from rfnumeric.plotting import learning_curves
from rfnumeric.training import Run, RunConfig, train
from rfnumeric.training.folder import claim


def run(
    config: RunConfig,
    dataset: Dataset,
    *,
    out: Path | None,
    resume: bool,
    as_json: bool,
    overwrite: bool = False,
    metrics_every: int | None = None,
) -> Run:
    """Train as `config` says, print a table, and write results, history, checkpoint and figures into `out`.

    Parameters
    ----------
    config : RunConfig
    dataset : Dataset
    out : Path or None
    resume : bool
        Go on from the checkpoint in `out`.
    overwrite : bool
        Replace the run that `out` holds.
    as_json : bool
        Print the results' JSON to standard output; the table then goes to standard error.
    metrics_every : int, optional
        As for `rfnumeric.training.train`; what was measured is drawn too.

    Returns
    -------
    Run
    """
    with claim(out, command="train", resume=resume, overwrite=overwrite):
        with run_progress(config.rule, config.epochs) as progress:
            done = train(config, dataset, out=out, resume=resume, progress=progress, metrics_every=metrics_every)
        _publish(done, out=out, as_json=as_json)
    return done


def _publish(done: Run, *, out: Path | None, as_json: bool) -> None:
    config = done.config
    document = report(done.results(), out=out)
    if out is not None:
        curves = [(f"seed {m.config.seed}, rate {m.config.lr:g}", m.records) for m in done.members]
        title = f"{config.rule}: {config.hidden} hidden layers, {config.output} output"
        learning_curves(out / "curves.png", [(title, curves)], title=config.dataset)
        draw_metrics(out / "metrics.png", done.members, title=f"{config.dataset}, {title}")
    table = runs_table(f"{config.dataset}, {config.network_name}", done.results())
    show(document, table, *diagnoses(done.members), as_json=as_json)
