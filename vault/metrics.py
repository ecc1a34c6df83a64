"""Prometheus metrics of one process. No label holds a token, a patient, a recording or anything a caller sent."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """One registry and what the house counts in it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.key_mismatch = Counter(
            "replayvault_key_mismatch",
            "Bytes that a session's key did not open: a misroute, never normal.",
            ["place", "release"],
            registry=self.registry,
        )
        self.consultation_taken = Counter(
            "replayvault_consultation_taken",
            "Uploads that named a second patient for a consultation: refused, and never normal.",
            registry=self.registry,
        )
        self.listing_breaker_open = Gauge(
            "replayvault_listing_breaker_open",
            "1 while lists are stopped, as this process last saw.",
            registry=self.registry,
        )
        self.alarm_webhook = Counter(
            "replayvault_alarm_webhook", "Messages to the webhook.", ["outcome"], registry=self.registry
        )
        self.first_byte_s = Histogram(
            "replayvault_first_byte_seconds",
            "From a media request to its first byte.",
            registry=self.registry,
        )
        self.streamed_bytes = Counter("replayvault_streamed_bytes", "Media sent.", registry=self.registry)
        self.ingested_bytes = Counter("replayvault_ingested_bytes", "Sources sealed.", registry=self.registry)
        self.open_streams = Gauge(
            "replayvault_open_streams", "Media answers in flight.", registry=self.registry
        )
        self.audit_unanchored = Gauge(
            "replayvault_audit_unanchored_entries",
            "Audit entries of this process that no anchor covers yet.",
            registry=self.registry,
        )
        self.jobs = Counter(
            "replayvault_jobs", "Transcode runs by how they ended.", ["outcome"], registry=self.registry
        )

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)
