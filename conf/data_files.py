"""Reads the book's files of data and its transcripts, and tells what is wrong in a line.

For any other exception Sphinx prints a traceback and saves a longer one, which is right for a fault
in a program and hides one in a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from lab.errors import LabError
from lab.files import transcript
from lab.files.transcript import Transcript
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata

logger = logging.getLogger(__name__)

# It takes a tenth of the time. PyYAML lacks it where it was built without libyaml.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Fault(SphinxError):
    """A file is not as agreed: its name, and what is wrong. It ends the build."""


def read_yaml(path: Path) -> Any:
    """The value of a YAML file. Raises Fault, with its line, if it is not YAML."""
    return parse_yaml(path.read_text("utf-8"), path)


def parse_yaml(text: str, path: Path, line: int = 1) -> Any:
    """The value of a YAML text, which begins at a line of a file. Raises Fault as `read_yaml`."""
    try:
        return yaml.load(text, _LOADER)  # noqa: S506 (both loaders are safe)
    except yaml.MarkedYAMLError as error:
        line += error.problem_mark.line if error.problem_mark else 0
        raise Fault(f"{path}:{line}: not valid YAML: {error.problem}") from None


def read_transcript(path: Path) -> Transcript:
    """The transcript in a file. Raises Fault, with its line, if it is not one."""
    try:
        return transcript.read(path)
    except LabError as error:
        raise Fault(str(error)) from None


def tell(_app: Sphinx, exception: Exception | None) -> None:
    """End the build with one line, if a file is what stopped it."""
    if isinstance(exception, Fault):
        logger.error("%s", exception)
        raise SystemExit(1)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.connect("build-finished", tell, priority=999)  # after all that tidies up
    return {"parallel_read_safe": True, "parallel_write_safe": True}
