"""Where things are in this project."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
TEST_EXAMPLES = ROOT / "tests" / "examples"
RECORDINGS = ROOT / "tests" / "recordings"
CLUSTER = ROOT / "tests" / "cluster"
