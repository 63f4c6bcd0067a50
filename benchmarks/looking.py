"""What the processes of a system tell of themselves, and the operating system of them."""

from urllib.request import urlopen

import psutil
from prometheus_client.parser import text_string_to_metric_families

from devstack.addresses import Address
from devstack.processes import Process


def total(metrics: Address, name: str) -> int:
    """The sum of the samples of that name, whatever their labels. Raises OSError where nobody answers."""
    with urlopen(f"http://{metrics.local}/metrics", timeout=5) as response:
        families = text_string_to_metric_families(response.read().decode())
    return int(sum(sample.value for family in families for sample in family.samples if sample.name == name))


def processor_seconds(process: Process) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)
