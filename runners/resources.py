"""Memory and energy, null where they cannot be known."""

import resource
from typing import Any

import torch


def device_name(device: torch.device) -> str:
    """A device in words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def peak_memory(device: torch.device) -> dict[str, Any]:
    """Peak memory: CUDA's own count, else the process's, named so."""
    if device.type == "cuda":
        return {"peak_memory_bytes": torch.cuda.max_memory_allocated(device), "peak_memory_kind": "cuda"}
    # Linux counts in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak_memory_bytes": peak, "peak_memory_kind": "process"}


class EnergyMeter:
    """Energy of a CUDA device since construction, by NVML's own counter; nothing elsewhere."""

    def __init__(self, device: torch.device):
        self._device = device
        self._start = self._joules()

    def _joules(self) -> float | None:
        if self._device.type != "cuda":
            return None
        try:
            import pynvml

            pynvml.nvmlInit()
            uuid = f"GPU-{torch.cuda.get_device_properties(self._device).uuid}"
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
