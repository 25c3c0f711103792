"""Plays an example on a cluster, and then leaves it to a reader, in a shell with the real tools.

The shell is that of the client outside of the cluster, where the transcripts ran.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from lab.files.example import Example
from lab.programs.shell import hand_to_reader

from cluster.recording import record
from cluster.world import World

# What the shell takes over: the functions and variables that the transcripts set.
_SAVE = """{
  declare -f
  for name in $(comm -23 <(compgen -v | sort) <(bash -c 'compgen -v' | sort)); do
    [[ $name == name || $name == step ]] || declare -p "$name"
  done
} > %s"""

_RC = """. {variables} 2> /dev/null
PS1='(cluster) $ '
unset HISTFILE
"""


def play(example: Example, world: World, report: Callable[[str], None]) -> Path:
    """Plays all transcripts on a cluster that is up, and gives what a shell begins with."""
    variables = world.folder / "variables"
    record.play(example, world, report, ending=_SAVE % shlex.quote(str(variables)))
    rc = world.folder / "bashrc"
    rc.write_text(_RC.format(variables=shlex.quote(str(variables))))
    return rc


def shell(example: Example, world: World, rc: Path) -> int:
    """Opens a shell in the example's folder until the reader leaves it; gives its exit code."""
    bash = ["bash", "--noprofile", "--rcfile", str(rc), "-i"]
    command = world.command(bash, outside=True, cwd=example.folder)
    env = world.environment({"TERM": os.environ.get("TERM", "dumb"), "LC_ALL": "C.UTF-8"})
    return hand_to_reader(command, env, example.folder)
