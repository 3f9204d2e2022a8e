"""Runs that differ in nothing but their seed, as one record: the mean, and the lowest and highest value."""

import json
import math
from collections.abc import Iterable
from typing import Any

from runners.schema import FLOAT, METRICS, method_parameters, setting

Record = dict[str, Any]

# What a record of several seeds has in addition: how many, and the limits of each metric over them.
SEEDS, LOWEST, HIGHEST = "seeds", "{}_lowest", "{}_highest"
# What has no mean: limits and tests say something about the examples of one run.
_OF_ONE_RUN = ("_lo", "_hi", "_p", "_p_holm", "_mde")
_ALIKE = ("method", "baseline", "limit", "examples", "quality_metric", "hallucination_metric", "target_unit")
_MEASURED = [field.name for field in METRICS if field.type == FLOAT and not field.name.endswith(_OF_ONE_RUN)]


def together(records: Iterable[Record]) -> list[list[Record]]:
    """Runs that are equal in everything but their seed, in the order of the first of each."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(_alike(record), []).append(record)
    found = []
    for group in groups.values():
        seeds = {record.get("seed") for record in group}
        # With one seed twice they differ in something that metrics do not tell.
        apart = len(seeds) < len(group) or None in seeds
        found += [[record] for record in group] if apart else [group]
    return found


def pooled(records: Iterable[Record]) -> list[Record]:
    """Put runs that are equal in everything but their seed together, in the order of the first of each.

    Parameters
    ----------
    records : iterable of dict
        Metrics of runs; unknown values are None.

    Returns
    -------
    list of dict
        A run without others is as it was. Of several, every measured number is their mean, with the limits
        under `LOWEST` and `HIGHEST` where they differ; it is unknown where one of them does not know it.
        Confidence limits and p-values are unknown. Where some were put together, every record has `SEEDS`.
    """
    found = [group[0] if len(group) == 1 else _mean_of(group) for group in together(records)]
    if any(SEEDS in record for record in found):
        found = [{SEEDS: 1, **record} for record in found]
    return found


def _alike(record: Record) -> tuple[str, ...]:
    """What runs that differ in their seed share."""
    parameters = method_parameters(record)
    if record.get("target_skip") is not None:
        # What was asked for is the same, also where every seed has its own answer.
        parameters.pop(str(record.get("solved_parameter")), None)
    rest = [str(record.get(name)) for name in (*_ALIKE, "target_skip")]
    return (*setting(record), *rest, json.dumps(parameters, sort_keys=True))


def _mean_of(group: list[Record]) -> Record:
    # What they agree in is known, and nothing else yet.
    first = group[0]
    found = {
        name: value if all(record.get(name) == value for record in group) else None
        for name, value in first.items()
    }
    found |= {name: None for name in found if name.endswith(_OF_ONE_RUN)}
    for name in _MEASURED:
        values = [float(record[name]) for record in group if record.get(name) is not None]
        if len(values) == len(group) and min(values) < max(values):
            found[name] = math.fsum(values) / len(values)
            found |= {LOWEST.format(name): min(values), HIGHEST.format(name): max(values)}
    if found.get("solved_value") != first.get("solved_value"):
        # Every seed has its own answer; what was asked for is the same.
        parameters = {**method_parameters(first), first["solved_parameter"]: None}
        found |= {"solved_parameter": "target_skip", "solved_value": first["target_skip"]}
        found["method_params"] = json.dumps(parameters)
    return {**found, SEEDS: len(group)}
