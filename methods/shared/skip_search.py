"""Searching for the sub-layers that a draft can do without: random sets, now and then a Bayesian one."""

import warnings
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch

from methods.shared.errors import MethodError
from models.plan import Plan

# Upper confidence bound, noise and candidates of the Bayesian step, as SWIFT's release has them.
_KAPPA, _NOISE, _CANDIDATES = 2.5, 1e-2, 10_000


def plan_without(skipped: Iterable[int], depth: int) -> Plan:
    """The sub-layers that a set of skipped ones leaves in a model of `depth` layers.

    Variable l - 1 is the attention of layer l, variable l - 1 + (depth - 2) its FFN, for 1 <= l <= depth - 2:
    the first and the last layer always run.
    """
    between = depth - 2
    skipped = set(skipped)
    attention, ffn = (
        tuple(layer - 1 + first not in skipped or not 0 < layer < depth - 1 for layer in range(depth))
        for first in (0, between)
    )
    return Plan(attention, ffn)


def odd_layers(depth: int) -> list[int]:
    """The set that skips both sub-layers of every odd layer, as far as it may."""
    odd = [layer - 1 for layer in range(1, depth - 1, 2)]
    return odd + [variable + depth - 2 for variable in odd]


def gaussian_process() -> Any:
    """The process of the Bayesian step; called once before the clock runs, since the import takes a second.

    Raises
    ------
    MethodError
        scikit-learn is not installed.
    """
    try:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import Matern
    except ImportError as error:
        raise MethodError(
            "the Bayesian step of the search needs scikit-learn: install it, or set bayes_interval=0"
        ) from error
    return GaussianProcessRegressor(Matern(nu=2.5), alpha=_NOISE, normalize_y=True)


@dataclass
class SkipSearch:
    """One search over on/off variables of which a fixed number is on.

    Attributes
    ----------
    variables, count : int
        How many there are, and how many are on in every set.
    chosen : list of int
        The best set so far; at first the one that was given, which is never scored.
    bayes_interval : int
        Every so many-th trial is a Bayesian one; 0: none is.
    max_score, max_tolerance, max_iterations
        A better score ends the search, and so do more trials in a row without a better one, or more in all.
    """

    variables: int
    count: int
    chosen: list[int]
    bayes_interval: int
    max_score: float
    max_tolerance: int
    max_iterations: int
    best: float = 0.0
    tolerance: int = 0
    iteration: int = 0
    stopped: bool = False
    tried: list[list[float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def propose(self, noise: torch.Generator) -> tuple[list[int], list[float]]:
        """The next set to score, and the point that stands for it."""
        if self.bayes_interval and (self.iteration + 1) % self.bayes_interval == 0 and self.tried:
            point = self._bayesian(noise)
            order = sorted(range(self.variables), key=lambda variable: -point[variable])
            return sorted(order[: self.count]), point
        drawn = torch.randperm(self.variables, generator=noise)[: self.count].tolist()
        return sorted(drawn), [float(variable in drawn) for variable in range(self.variables)]

    def report(self, proposed: list[int], point: list[float], score: float) -> None:
        """Take a set's score."""
        self.tried.append(point)
        self.scores.append(score)
        self.iteration += 1
        if score > self.best:
            self.best, self.chosen, self.tolerance = score, proposed, 0
        else:
            self.tolerance += 1
        worn_out = self.tolerance > self.max_tolerance or self.iteration > self.max_iterations
        self.stopped = self.stopped or worn_out or self.best > self.max_score

    def _bayesian(self, noise: torch.Generator) -> list[float]:
        """The most promising of many random points under a Gaussian process of the scores so far."""
        process = gaussian_process()
        with warnings.catch_warnings():
            # A length scale at its bound: the scores so far say nothing about nearness, as they well may.
            warnings.filterwarnings("ignore", message="The optimal value found for dimension")
            process.fit(self.tried, self.scores)
        points = torch.rand(_CANDIDATES, self.variables, generator=noise, dtype=torch.float64)
        mean, deviation = process.predict(points.numpy(), return_std=True)
        place = int((mean + _KAPPA * deviation).argmax())
        return points[place].tolist()

    def state(self) -> dict[str, Any]:
        """What goes on after a restart, as JSON; a search that is over needs its trials no more."""
        tried = [] if self.stopped else [_short(point) for point in self.tried]
        names = ("chosen", "best", "tolerance", "iteration", "stopped")
        kept = {name: deepcopy(getattr(self, name)) for name in names}
        return {**kept, "tried": tried, "scores": [] if self.stopped else list(self.scores)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        for name, value in state.items():
            setattr(self, name, deepcopy(value))
        self.tried = [self._long(point) for point in state["tried"]]

    def _long(self, point: list[Any]) -> list[float]:
        if len(point) == self.variables and any(isinstance(value, float) for value in point):
            return list(point)
        return [float(variable in point) for variable in range(self.variables)]


def _short(point: list[float]) -> list[Any]:
    """A random set by its members, a Bayesian point as it is: states are written after every example."""
    if set(point) <= {0.0, 1.0}:
        return [variable for variable, on in enumerate(point) if on]
    return list(point)
