"""Lets `hydra/sweeper=optuna` be chosen and its options be given; `runners.search` does what they say."""

from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LaterSweeper(Sweeper):
    """Hands over the command as it is: which jobs there are turns out while they run."""

    def __init__(self, **options: Any) -> None:
        super().__init__()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra composed."""
        self._task, self._config = task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        """Call the task once, with the command's configuration."""
        HydraConfig.instance().set_config(self._config)
        return self._task(self._config)
