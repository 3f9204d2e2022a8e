"""Memory and energy, null where they cannot be known."""

import os
import resource
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from runners.environment import cpu_model

JOBS_AT_ONCE = "SKIPBENCH_JOBS_AT_ONCE"


def device_name(devices: Sequence[torch.device]) -> str:
    """The devices of a model in words, by the names that their makers gave them."""
    counts = Counter(
        torch.cuda.get_device_name(one) if one.type == "cuda" else f"cpu ({cpu_model() or 'unknown'})"
        for one in devices
    )
    return ", ".join(name if count == 1 else f"{count} x {name}" for name, count in counts.items())


def jobs_at_once() -> int:
    """Jobs of a study that share this processor; who starts several says so to each."""
    return int(os.environ.get(JOBS_AT_ONCE, 1))


def peak_memory(devices: Sequence[torch.device]) -> dict[str, Any]:
    """Peak memory: CUDA's own count, of all devices together, else the process's, named so."""
    if devices[0].type == "cuda":
        peak = sum(torch.cuda.max_memory_allocated(device) for device in devices)
        return {"peak_memory_bytes": peak, "peak_memory_kind": "cuda"}
    # Linux counts in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak_memory_bytes": peak, "peak_memory_kind": "process"}


class EnergyMeter:
    """Energy of CUDA devices since construction, by NVML's own counter; nothing elsewhere."""

    def __init__(self, devices: Sequence[torch.device]):
        self._devices = devices
        self._start = self._joules()

    def _joules(self) -> float | None:
        joules = [self._joules_of(device) for device in self._devices]
        return None if None in joules else sum(one for one in joules if one is not None)

    @staticmethod
    def _joules_of(device: torch.device) -> float | None:
        if device.type != "cuda":
            return None
        try:
            import pynvml

            pynvml.nvmlInit()
            uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
            return pynvml.nvmlDeviceGetTotalEnergyConsumption(pynvml.nvmlDeviceGetHandleByUUID(uuid)) / 1000
        except ImportError:
            return None
        except pynvml.NVMLError:
            return None

    def facts(self, resumed: bool) -> dict[str, Any]:
        """`energy_j` and how it was measured; null for a resumed run, whose first part nobody measured."""
        now = self._joules()
        if now is None or self._start is None or resumed:
            return {}
        return {"energy_j": now - self._start, "energy_kind": "nvml: whole device, both sides"}
