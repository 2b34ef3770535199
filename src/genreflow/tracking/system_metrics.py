"""CPU, memory and GPU load during a trial, under MLflow's names, for the UI's tab "System metrics"."""

import threading
from collections.abc import Callable, Mapping

import psutil
from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

SAMPLE_INTERVAL_S = 10.0


class SystemMetricsSampler:
    """A thread that samples the load of the machine.

    MLflow's own sampler asks the store before each sample whether the run is still active, and ends for good when the
    store does not answer once.

    Parameters
    ----------
    on_sample : callable
        Called with each sample, from metric name to value.
    interval : float > 0 [s]
    """

    def __init__(
        self, on_sample: Callable[[Mapping[str, float]], object], *, interval: float = SAMPLE_INTERVAL_S
    ) -> None:
        self._on_sample, self._interval = on_sample, interval
        self._stopped, self._lock = threading.Event(), threading.Lock()
        self._monitors: list[BaseMetricsMonitor] = [CPUMonitor(), *_gpu_monitors()]
        self._process = psutil.Process()
        psutil.cpu_percent()  # the first call returns a meaningless 0
        self._thread = threading.Thread(target=self._work, name="genreflow system metrics", daemon=True)
        self._thread.start()

    def sample(self) -> dict[str, float]:
        """Return the present load, from metric name to value."""
        found = {"process_memory_usage_megabytes": self._process.memory_info().rss / 1e6}
        with self._lock:
            for monitor in self._monitors:
                monitor.collect_metrics()
                found |= monitor.aggregate_metrics()
                monitor.clear_metrics()
        return {f"system/{name}": value for name, value in found.items()}

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stopped.wait(self._interval):
            self._on_sample(self.sample())


def _gpu_monitors() -> list[BaseMetricsMonitor]:
    try:
        return [GPUMonitor()]
    except (ImportError, RuntimeError):  # no driver, or its package is not installed
        return []
