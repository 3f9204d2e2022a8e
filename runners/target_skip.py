"""Equal compute: find the parameter value at which a method really skips what was asked for."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from methods.full import Full
from methods.shared.method import Method
from methods.shared.profile import Profile, profile
from models.batch import Batch
from models.cache_folder import cache_root
from models.counters import ATTENTION, FFN
from models.prefix import Prefix
from runners.decoding import Decoding
from runners.errors import RunError
from runners.files import explained, remove_temporaries, write_text
from runners.halving import told_if_too_large
from runners.notices import say
from runners.prompts import Prompt
from runners.statistics import clustered_standard_error, student

T = TypeVar("T")
# Part of the cache key: raised when solving finds something else than before.
_FORMAT = 3
# Rows decoded together while solving, where what a row skips does not depend on its batch.
ROWS = 20
# Prompts of the first, coarse search.
_FEW = 8
# A solution this close is taken at once.
_NEAR = 0.01
# How far the best setting may miss before the target counts as out of reach.
_TOLERANCE = 0.03
_COARSE, _FINE = 8, 4
# With a profile: tries in all, and those after which a solution this close is enough.
_MOST, _FEW_TRIES, _CLOSE = 6, 2, 0.02
# Places of the search interval at which the skip is foretold.
_PLACES = 401
# Memory for the passes over calibration prompts, which take most of the time that solving takes.
_PREFIX_BYTES = 2**31


@dataclass(frozen=True)
class Solution:
    """What solving found.

    Attributes
    ----------
    parameter : str
    value : float or int
    skip : float
        Realised skip on the calibration prompts.
    steps : int
        Decode steps it was measured on.
    prompts : int
        Prompts that these steps answer.
    margin : float or None
        Half the width of the 95 % interval of that skip over prompts. None: of one prompt, or not asked for.
    """

    parameter: str
    value: float | int
    skip: float
    steps: int
    prompts: int = 0
    margin: float | None = None


class Skip:
    """Realised skip of a method over calibration prompts, free-running, warm-up included.

    Parameters
    ----------
    temperatures : list of float or None
        Of each prompt's answer; None: the run's.
    unit : str
        What is counted: weighted, ffn or attention.
    rows : int
        Prompts decoded together.
    """

    def __init__(
        self,
        decoding: Decoding,
        prompts: list[Prompt],
        keys: list[tuple[str, int]],
        temperatures: list[float | None],
        unit: str,
        rows: int,
    ):
        self._decoding = decoding
        self._asked = list(zip(prompts, keys, temperatures, strict=True))
        self._unit, self._rows = unit, rows
        self._prefixes: dict[tuple[tuple[str, int], ...], Prefix] = {}

    def __call__(self, method: Method, count: int | None = None) -> tuple[float, int]:
        """Skip and decode steps over the first `count` prompts (None: all)."""
        runs, totals = self._work(method, count)
        total = int(totals.sum())
        layers = len(self._decoding.model.stack.layers)
        if total == 0:
            raise RunError(
                "target_skip cannot be solved: no calibration answer has a decode step; "
                "raise max_new_tokens if it is 1, or set the parameter itself"
            )
        return self.share(runs.sum(0).double() / total), total // layers

    def margin(self, method: Method) -> float | None:
        """Half the width of the 95 % interval of the skip, prompts taken as drawn from many; None of one."""
        runs, totals = self._work(method, None)
        answered = totals > 0
        runs, totals = runs[answered].double(), totals[answered].double()
        mean = runs.sum(0) / totals.sum()
        apart = [self.share(one / total) - self.share(mean) for one, total in zip(runs, totals, strict=True)]
        error = clustered_standard_error(np.array(apart) * (totals / totals.mean()).numpy())
        return None if error is None else min(1.0, error * student(len(apart)))

    def _work(self, method: Method, count: int | None) -> tuple[Tensor, Tensor]:
        """Token runs [prompts, 2] by ATTENTION and FFN, and those of the full model of either, [prompts]."""
        runs, totals = [], []
        for prompts, keys, temperature in self._parts(method, count):
            with told_if_too_large(len(prompts)):
                answers = self._decoding.run(method, prompts, keys, temperature, prefix=self._prefix(keys))
            for answered in answers:
                runs.append([0, 0])
                runs[-1][ATTENTION] = answered.work["attention_run"]
                runs[-1][FFN] = answered.work["ffn_run"]
                totals.append(answered.work["ffn_total"])
        return torch.tensor(runs).reshape(-1, 2), torch.tensor(totals)

    def profile(self, method: Method) -> Profile:
        """What the full model's decode steps on all prompts look like to the method."""
        full = Full()
        full.bind(method.stack)

        def batches() -> Iterator[Batch]:
            for prompts, keys, temperature in self._parts(method):
                ids = [prompt.ids for prompt in prompts]
                yield self._decoding.at(temperature).batch(full, ids, keys, prefix=self._prefix(keys))

        with torch.inference_mode(), told_if_too_large(self._rows):
            return profile(full, batches(), method.signal)

    def _parts(
        self, method: Method, count: int | None = None
    ) -> Iterator[tuple[tuple[Prompt, ...], tuple[tuple[str, int], ...], float | None]]:
        """Prompts that are decoded together, their keys and their temperature."""
        rows = min(self._rows, method.max_batch or self._rows)
        asked = self._asked[:count]
        if method.batch_policy != "all":
            # Prompts of one length together: a batch is as long as its longest.
            asked = sorted(asked, key=lambda one: len(one[0].ids))
        for temperature in dict.fromkeys(one[2] for one in asked):
            alike = [one for one in asked if one[2] == temperature]
            for start in range(0, len(alike), rows):
                prompts, keys, _ = zip(*alike[start : start + rows], strict=True)
                yield prompts, keys, temperature

    def share(self, run: Tensor) -> float:
        """The skip where these shares of the attention blocks and of the FFNs were run, [2]."""
        left = 1 - run
        weights = {"attention": (1.0, 0.0), "ffn": (0.0, 1.0)}.get(self._unit, self._weights())
        return float((left[ATTENTION] * weights[0] + left[FFN] * weights[1]) / sum(weights))

    def predicted(self, method: Method, profile: Profile) -> float:
        """The skip that the decode steps of the full model foretell."""
        runs = method.predicted_runs(profile)
        return self.share(runs.double().sum(1) / (sum(profile.lengths) * runs.shape[1]))

    def _prefix(self, keys: tuple[tuple[str, int], ...]) -> Prefix:
        """Of a batch, which its prompts' keys name."""
        if keys not in self._prefixes:
            kept = sum(prefix.bytes for prefix in self._prefixes.values())
            self._prefixes[keys] = Prefix(_PREFIX_BYTES - kept)
        return self._prefixes[keys]

    def _weights(self) -> tuple[float, float]:
        layer = self._decoding.model.stack.layers[0]
        return float(layer.attention_weights), float(layer.ffn_weights)


def with_value(method: Method, value: float | int) -> Method:
    """The same method with its solved parameter set, bound to the same model and knowing what it had
    learnt."""
    assert method.solves is not None
    params = dataclasses.replace(method.params, **{method.solves.name: value})
    solved = type(method)(params)
    solved.bind(method.stack)
    if method.needs_calibration:
        solved.restore(method.calibration)
    return solved


def solve(method: Method, measure: Skip, prompts: int, profile: Profile | None = None) -> Solution:
    """Find the parameter value at which a method skips `target_skip`.

    The relation need not be monotone. So the search runs in what a profile of the full model foretells, which
    costs nothing, or on a few prompts if the method cannot tell; what it finds is measured on all prompts,
    its aim is corrected by how far that was off, and the best setting visited is kept.

    Raises
    ------
    RunError
        The target is out of reach; the message names the reachable range.
    """
    solves, target = method.solves, method.params.target_skip
    assert solves is not None
    visited: dict[float | int, tuple[float, int]] = {}

    def on_all(place: float) -> float:
        value = solves.at(place)
        if value not in visited:
            visited[value] = measure(with_value(method, value))
            say(f"{solves.name}={value:.5g} skips {visited[value][0]:.3f}, {target:g} is wanted")
        return visited[value][0]

    if profile is None:
        _by_few_prompts(method, on_all, measure, min(_FEW, prompts))
    else:
        _by_profile(method, on_all, measure, profile)
    if min(abs(skip - target) for skip, _ in visited.values()) > _TOLERANCE:
        on_all(0.0)
        on_all(1.0)
        skips = [skip for skip, _ in visited.values()]
        if not min(skips) - _TOLERANCE <= target <= max(skips) + _TOLERANCE:
            raise RunError(
                f"target_skip={target} is out of reach: {solves.name} reaches a realised skip "
                f"({method.params.target_unit}) of {min(skips):.2f} to {max(skips):.2f} here, warm-up "
                "included; ask for one within"
            )
        # The search was led astray, or the parameter has no setting between two that straddle the target.
        _search(on_all, target, solves.rises, _COARSE)
    value = min(visited, key=lambda value: abs(visited[value][0] - target))
    return Solution(solves.name, value, *visited[value])


def _by_profile(method: Method, on_all: Callable[[float], float], measure: Skip, profile: Profile) -> None:
    """Measure where the full model's steps foretell the target, corrected by how far that was off before."""
    solves, target = method.solves, method.params.target_skip
    assert solves is not None

    @cache
    def foretold(value: float | int) -> float:
        return measure.predicted(with_value(method, value), profile)

    places = np.linspace(0, 1, _PLACES)
    skips = np.array([foretold(solves.at(float(place))) for place in places])
    errors: dict[float, float] = {}
    for tried in range(_MOST):
        known = sorted(errors)
        # Between two places that were measured, the error is taken to change evenly.
        error = np.interp(places, known, [errors[place] for place in known]) if known else 0.0
        best = int(np.abs(skips + error - target).argmin())
        place = float(places[best])
        off = abs(on_all(place) - target)
        if place in errors or off <= _NEAR or (tried >= _FEW_TRIES and off <= _CLOSE):
            return
        errors[place] = on_all(place) - float(skips[best])


def _by_few_prompts(method: Method, on_all: Callable[[float], float], measure: Skip, prompts: int) -> None:
    """Search on a few prompts, measure what that finds on all of them, and correct the aim."""
    solves, target = method.solves, method.params.target_skip
    assert solves is not None

    @cache
    def on_few(value: float | int) -> float:
        return measure(with_value(method, value), prompts)[0]

    aim, seen = target, set()
    for _ in range(_FINE):
        place = _search(lambda place: on_few(solves.at(place)), aim, solves.rises, _COARSE)
        again = solves.at(place) in seen
        seen.add(solves.at(place))
        off = on_all(place) - target
        if again or abs(off) <= _NEAR:
            return
        # What the few prompts show where all of them are on target.
        aim = on_few(solves.at(place)) - off


def _search(measure: Callable[[float], float], target: float, rises: bool, tries: int) -> float:
    """Bracketing search on [0, 1]: by interpolation where both ends are known, by halves where they are not.

    Nothing is skipped at one end; that needs no measurement.
    """
    low, high = 0.0, 1.0
    known = {low if rises else high: 0.0}
    measured: dict[float, float] = {}
    for _ in range(tries):
        place = (low + high) / 2
        if low in known and high in known and known[low] != known[high]:
            step = (target - known[low]) / (known[high] - known[low])
            place = low + (high - low) * min(max(step, 0.1), 0.9)
        known[place] = measured[place] = measure(place)
        if abs(known[place] - target) <= _NEAR or high - low < 1e-4:
            break
        if (known[place] < target) == rises:
            low = place
        else:
            high = place
    return min(measured, key=lambda place: abs(measured[place] - target))


def cached(
    key: dict[str, Any], compute: Callable[[], dict[str, Any]], use: Callable[[dict[str, Any]], T]
) -> T:
    """What `use` makes of a JSON result, which is kept in the user's cache folder under a hash of everything
    that it depends on; one that it cannot use is computed anew."""
    text = json.dumps({"format": _FORMAT, **key}, sort_keys=True)
    path = cache_root() / "calibration" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    # Not there yet, not readable as JSON, or of another shape.
    with contextlib.suppress(OSError, ValueError, RecursionError, TypeError, LookupError, AttributeError):
        return use(json.loads(path.read_text()))
    result = compute()
    with explained("create", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(result))
    remove_temporaries(path.parent, now=path)
    return use(result)
