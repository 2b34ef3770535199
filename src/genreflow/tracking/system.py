"""What a trial does to its machine, under MLflow's own names, so that the UI's tab "System metrics" shows it."""

import threading
from collections.abc import Callable, Mapping

import psutil
from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

SAMPLE_SECONDS = 10.0


class Sampler:
    """A thread that looks at CPU, memory and GPUs every ten seconds.

    MLflow's own monitor asks the store before each sample whether the run still goes on, and ends at the first time
    that it gets no answer.

    Parameters
    ----------
    take : callable
        Called with each sample, metric to value.
    """

    def __init__(self, take: Callable[[Mapping[str, float]], object]) -> None:
        self._take, self._over, self._turn = take, threading.Event(), threading.Lock()
        self._monitors: list[BaseMetricsMonitor] = [CPUMonitor(), *_gpus()]
        self._process = psutil.Process()
        psutil.cpu_percent()  # the load since the call before: the first says nothing
        self._thread = threading.Thread(target=self._work, name="genreflow sampler", daemon=True)
        self._thread.start()

    def now(self) -> dict[str, float]:
        """A sample."""
        found = {"process_memory_usage_megabytes": self._process.memory_info().rss / 1e6}
        with self._turn:
            for monitor in self._monitors:
                monitor.collect_metrics()
                found |= monitor.aggregate_metrics()
                monitor.clear_metrics()
        return {f"system/{name}": value for name, value in found.items()}

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self._take(self.now())


def _gpus() -> list[BaseMetricsMonitor]:
    try:
        return [GPUMonitor()]
    except (ImportError, RuntimeError):  # no driver, or no package that asks it
        return []
