"""With this folder on PYTHONPATH a Python process reads a wall clock that is wrong by the seconds in a file.

`LOCKSTEP_TEST_CLOCK` names the file, which may change while the process runs. The monotonic clock is not touched, as by
a kernel whose time is set.
"""

import datetime
import os
import time
from pathlib import Path

_FILE = Path(os.environ["LOCKSTEP_TEST_CLOCK"])
_time = time.time


def _shift() -> float:
    return float(_FILE.read_text() or 0)


class _Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz: "datetime.tzinfo | None" = None) -> "_Shifted":
        return cls.fromtimestamp(_time() + _shift(), tz)


datetime.datetime = _Shifted  # type: ignore[misc]
time.time = lambda: _time() + _shift()
