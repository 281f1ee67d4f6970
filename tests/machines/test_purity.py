"""Choosing a machine loads no Google library, and is quick enough for every start of a sweep."""

from __future__ import annotations

import subprocess
import sys

PROBE = """
import sys, time
start = time.process_time()
from hydra_gce.machines import VMRequest, resolve
resolve(VMRequest(gpu="T4", provisioning="spot"))
taken = time.process_time() - start
loaded = {name.split(".")[0] for name in sys.modules}
print(sorted({"google", "pandas", "numpy", "mlflow", "tensorflow", "yaml"} & loaded), taken)
"""


def test_a_first_choice_loads_nothing_heavy_and_takes_no_time() -> None:
    # CPU time, the best of three: what else the machine does must not count.
    takes = []
    for _ in range(3):
        answer = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
        heavy, taken = answer.stdout.rsplit(" ", 1)
        assert heavy == "[]"
        takes.append(float(taken))
    assert min(takes) < 0.25
