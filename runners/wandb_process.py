"""The process that talks to Weights & Biases: reads one JSON object from standard input, writes one W&B run.

It is a process of its own so that nothing W&B does (waiting for a server, capturing output, handlers at exit)
can reach the run that is being reported. Any failure is a status other than 0 with the reason as the last
line of stderr.
"""

import json
import sys
from typing import Any

import numpy as np
import wandb


def main() -> None:
    """Write the run that standard input describes; see `wandb_logger` for its keys. With `live`, the first
    line describes it, and each of the others is a step of its history."""
    if sys.argv[1:] == ["live"]:
        run = _begun(json.loads(sys.stdin.readline()))
        for line in sys.stdin:
            run.log(json.loads(line))
        run.finish()
    else:
        _write(json.load(sys.stdin))


def _begun(given: dict[str, Any]) -> Any:
    return wandb.init(
        project=given["project"],
        entity=given["entity"],
        group=given["group"],
        id=given["id"],
        name=given["id"],
        mode=given["mode"],
        dir=given["dir"],
        config=given.get("config"),
        tags=given.get("tags"),
        resume="allow",
        save_code=False,
        # Git state and load of this short process would be mistaken for those of the measured one.
        settings=wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            x_disable_stats=True,
            init_timeout=given["timeout_s"],
        ),
    )


def _write(given: dict[str, Any]) -> None:
    run = _begun(given)
    if examples := given.get("examples"):
        run.log({"examples": wandb.Table(**examples)})
    for name, by_layer in given.get("histograms", {}).items():
        edges = np.arange(len(by_layer) + 1) - 0.5
        run.log({name: wandb.Histogram(np_histogram=(np.array(by_layer), edges))})
    if images := given.get("images"):
        run.log({name: wandb.Image(path) for name, path in images.items()})
    if verdicts := given.get("verdicts"):
        # In the summary: the history of a run that is told more than once would begin again at step 0.
        run.summary["verdicts"] = wandb.Table(**verdicts)
    run.summary.update(given["summary"])
    run.finish()


if __name__ == "__main__":
    main()
