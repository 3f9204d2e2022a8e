"""Lets `hydra/launcher=joblib` and `slurm` be chosen and their options be given; `runners.launchers` does
what they say."""

from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher


class LaterLauncher(BasicLauncher):
    """Composes jobs as Hydra's own launcher does; they are started when all are composed."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
