"""Lets `hydra/launcher=slurm` be chosen and its options be given; `runners.slurm` does what they say."""

from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher


class SlurmLauncher(BasicLauncher):
    """Composes jobs as Hydra's own launcher does; they are queued when all are composed."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options
