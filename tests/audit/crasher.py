"""The stream role, killed between a view's entry and its first byte: `python -m tests.audit.crasher serve …`.

Everything is the product; only the moment of the kill is chosen here.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from vault.cli import main
from vault.playback.views import Views

_open = Views.open


async def open_and_die(*arguments: Any, **named: Any) -> Any:
    await _open(*arguments, **named)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    Views.open = open_and_die  # type: ignore[method-assign]
    main()
