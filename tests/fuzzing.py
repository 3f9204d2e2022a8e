"""What all random inputs share: the same ones in every run, however long one takes."""

from hypothesis import HealthCheck, settings

REPRODUCIBLE = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
