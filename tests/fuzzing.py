"""What all random inputs share: the same ones in every run, however long one takes."""

import os
from typing import Any

from hypothesis import HealthCheck, settings

REPRODUCIBLE = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def often(times: int) -> Any:
    """So many random inputs with $SKIPBENCH_FUZZ=whole, as in make test-all; else a quarter of them."""
    whole = os.environ.get("SKIPBENCH_FUZZ") == "whole"
    return settings(REPRODUCIBLE, max_examples=times if whole else max(5, times // 4))
