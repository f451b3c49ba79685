"""What the server says of itself at /metrics, in Prometheus' text format."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import Scope

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Telemetry:
    """Counts what is answered, and reads gauges when it is asked."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("equipoise_requests", "Requests answered", labels, registry=self.registry)
        self._seconds = Histogram(
            "equipoise_answer_seconds", "Time to answer", ("route",), buckets=SECONDS, registry=self.registry
        )

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Add a figure that is read whenever somebody asks."""
        Gauge(f"equipoise_{name}", meaning, registry=self.registry).set_function(read)

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request: by the route, not the path, of which there is no end."""
        route = getattr(scope.get("route"), "path", "") or ("page" if status < 400 else "none")
        method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE", "HEAD") else "other"
        self._requests.labels(method, route, str(status)).inc()
        if not route.endswith(("/events", "/live")):  # which last as long as somebody watches
            self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All figures in the text format."""
        return generate_latest(self.registry)
