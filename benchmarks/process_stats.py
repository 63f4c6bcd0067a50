"""Figures of a running process: from its metrics, and from the operating system."""

from urllib.request import urlopen

import psutil
from prometheus_client.parser import text_string_to_metric_families

from devstack.addresses import Address
from devstack.processes import Process


def total(metrics: Address, name: str) -> int:
    """The sum over all samples of that name, whatever their labels. Raises OSError if the server does not answer."""
    with urlopen(f"http://{metrics.local}/metrics", timeout=5) as response:
        families = text_string_to_metric_families(response.read().decode())
    return int(sum(sample.value for family in families for sample in family.samples if sample.name == name))


def processor_seconds(process: Process) -> float:
    """The processor time that the process has used since it started, in user and kernel mode."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def memory_mebibytes(process: Process) -> float:
    """The memory of the process and its descendants; memory that they share is counted once (PSS)."""
    main = psutil.Process(process.pid)
    return sum(each.memory_full_info().pss for each in (main, *main.children(recursive=True))) / 2**20
