"""Ends with one line and exit code 1 where this process may use no GPU."""

from __future__ import annotations

import os

from search.devices.gpus import find_gpus

if __name__ == "__main__" and not find_gpus(os.environ.get("CUDA_VISIBLE_DEVICES")):
    raise SystemExit("gpu-test: must run on a machine with a GPU, and NVML shows none; nvidia-smi lists what there is")
