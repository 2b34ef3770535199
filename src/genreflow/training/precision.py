"""Whether this processor gains by bfloat16."""

from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# Tile instructions (AMX) multiply bfloat16 many times as fast as float32; vector instructions do not make up for the
# casts.
_CPU_FLAG = "amx_bf16"


@cache
def cpu_has_bfloat16_tiles() -> bool:
    """Whether the processor has matrix instructions for bfloat16; False where Linux does not say."""
    try:
        return _CPU_FLAG in _CPUINFO.read_text("utf-8").split()
    except OSError:  # not Linux
        return False
