"""One harness in a process of its own, which prints its tally.

``python -m tests.proof NAME attack|control COUNT SEED FOLDER``
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.proof import HARNESSES

name, variant, count, seed, folder = sys.argv[1:]
assert name in HARNESSES, f"no harness {name}: {', '.join(HARNESSES)}"
harness = importlib.import_module(f"tests.proof.{name}")
tally = getattr(harness, variant)(int(count) or harness.FULL, int(seed), Path(folder))
told = {"promise": harness.PROMISE, "unit": harness.UNIT, **asdict(tally)}
sys.stdout.write("\n" + json.dumps(told) + "\n")
