"""The log of the service as one JSON object a line, for programs that collect logs."""

import json
import logging
from datetime import UTC, datetime
from typing import Any


class JsonFormatter(logging.Formatter):
    """Writes a record as a JSON object: ``time``, ``level``, ``logger``, ``message``, ``process``.

    A record of a request also has the items of its attribute ``fields``, one of an exception the traceback, as
    ``exception``. Line breaks are escaped, so that one record is one line.
    """

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)
