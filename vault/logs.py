"""JSON lines on stderr. Nothing here holds a token, a key, a title or a patient reference; callers see to that."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

import structlog


def configure_logs(*, level: int = logging.INFO) -> None:
    """Set structlog up for this process, and silence the libraries' own loggers below WARNING."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s", force=True)
    _structure(level)


@contextlib.contextmanager
def warnings_aside() -> Iterator[None]:
    """Warnings on stderr for the length of the block: for commands whose stdout is a result."""
    before = structlog.get_config()
    _structure(logging.WARNING)
    try:
        yield
    finally:
        structlog.configure(**before)


def _structure(level: int) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def silence_logs() -> None:
    """Say nothing below CRITICAL: for commands that talk to a person."""
    configure_logs(level=logging.CRITICAL)
