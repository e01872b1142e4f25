"""Before any library is loaded: no reports, and one thread."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
