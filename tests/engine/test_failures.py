"""Bad input gets one clear line and leaves nothing behind; each is provoked for real."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import Copy, Traces, eventually, only_transcript
from lab.errors import LabError
from lab.files.example import Example, find_all
from lab.files.recording import load
from lab.mesh import container
from lab.mesh.mesh import Mesh
from lab.objects.pod import pods_in, shadow
from lab.paths import ROOT
from lab.plays import commands
from lab.plays.play import Playing, playing, replay
from lab.programs.server import serve
from lab.programs.shell import Shell

ORDERS = "cluster/orders"
CLIENT = "default/client"
APPLY = "$ kubectl apply -f apps.yaml -f gateway.yaml{}\n"
START = APPLY.format(" > applied")
INTERRUPTED = "lab: interrupted; everything that it started has ended\n"


def start_lab(*words: str) -> subprocess.Popen[str]:
    """Starts the lab's command line as the Makefile does."""
    return subprocess.Popen(
        [sys.executable, "-m", "lab", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
    )


def said_on_failure(traces: Traces, *words: str) -> str:
    """What the lab says when it fails, after which nothing of it is left."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = commands.run([*words])
    assert (code, stdout.getvalue()) == (1, "")
    assert stderr.getvalue().startswith("lab: ")
    traces.assert_nothing_left()
    return stderr.getvalue().removeprefix("lab: ")


# Plays in a row


def test_an_example_that_fails_once_in_a_row_of_plays_is_listed(
    small: Copy, traces: Traces
) -> None:
    example = small(ORDERS)
    path = only_transcript(example, "$ mkdir made && echo made\nmade\n")
    lab = start_lab("play", "--times", "2", "--load", str(example.folder))
    stdout, stderr = lab.communicate()
    assert lab.returncode == 1
    assert re.fullmatch(rf"1 of 2: {ORDERS}: \d+\.\d s\n2 of 2: {ORDERS}: failed\n", stdout)
    assert stderr.startswith(f"lab: 2 of 2: {path}:1: the output of `mkdir made ")
    traces.assert_nothing_left()


# Manifests


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("apiVersion: v1\nkind: [Service\nmetadata: {}\n", ":3: not valid YAML: "),
        ("# A gateway.\n\na gateway\n", ":3: not a Kubernetes object\n"),
    ],
)
def test_what_is_no_manifest_is_named_with_its_line(
    copy_of: Copy, traces: Traces, text: str, said: str
) -> None:
    example = copy_of(ORDERS)
    (example.folder / "gateway.yaml").write_text(text)
    failure = said_on_failure(traces, "play", str(example.folder))
    assert failure.startswith(f"{example.folder}/gateway.yaml{said}")
    assert failure.count("\n") == 1


def test_a_manifest_that_changed_after_recording_is_named_with_how_to_record(
    copy_of: Copy, traces: Traces
) -> None:
    example = copy_of(ORDERS)
    path = example.folder / "gateway.yaml"
    path.write_text(path.read_text().replace("number: 80", "number: 81"))
    assert re.fullmatch(
        rf"{path}:1: has changed since \d{{4}}-\d\d-\d\d "
        rf"\(make record EXAMPLE={ORDERS}\)\n",
        said_on_failure(traces, "play", str(example.folder)),
    )


def test_an_example_that_was_never_recorded_says_how_to_record(
    tmp_path: Path, traces: Traces
) -> None:
    folder = tmp_path / "problems" / "new"
    folder.mkdir(parents=True)
    (folder / "1-test.console").write_text("$ true\n")
    assert said_on_failure(traces, "play", str(folder)).startswith(
        f"{folder}: has no recording of a cluster (make record EXAMPLE=problems/new)"
    )


def test_an_unknown_example_is_answered_with_those_that_are_known(traces: Traces) -> None:
    known = ", ".join(example.name for example in find_all())
    assert said_on_failure(traces, "play", "problems/nope") == (
        f"there is no example 'problems/nope' (known: {known})\n"
    )


def test_an_unknown_setting_of_the_lab_is_refused(copy_of: Copy, traces: Traces) -> None:
    example = copy_of(ORDERS)
    (example.folder / "lab.yaml").write_text("frogs: 1\n")
    assert said_on_failure(traces, "play", str(example.folder)) == (
        f"{example.folder}/lab.yaml:1: unknown setting 'frogs' "
        "(known: meshConfig, outside, differs, held, lacks)\n"
    )


# Transcripts


def test_what_is_no_transcript_is_named_with_its_line(copy_of: Copy, traces: Traces) -> None:
    path = only_transcript(copy_of(ORDERS), "# A title.\n\nhello\n$ true\n")
    assert said_on_failure(traces, "play", str(path.parent)) == (
        f"{path}:3: output before the first command "
        "(a transcript starts with comments (#) or a command ($ ))\n"
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("kubectl patch svc orders", "the cluster was not asked: kubectl patch svc orders ("),
        ("istioctl analyze -n nowhere", "the cluster was not asked: istioctl analyze -n nowhere ("),
        ("exit 3", "the shell ended in: exit 3"),
    ],
)
def test_a_command_that_the_lab_does_not_play_is_named_with_its_line(
    small: Copy, traces: Traces, command: str, said: str
) -> None:
    path = only_transcript(small(ORDERS), f"# A title.\n\n$ true\n$ {command}\n")
    failure = said_on_failure(traces, "play", str(path.parent))
    assert failure.startswith(f"{path}:4: {said}")
    assert failure.count("\n") == 1


def test_an_output_does_not_hide_that_the_lab_could_not_play_its_command(
    small: Copy, traces: Traces
) -> None:
    command = "kubectl patch svc orders"
    path = only_transcript(small(ORDERS), f"$ {command} > /dev/null 2>&1 || true\n")
    assert said_on_failure(traces, "play", str(path.parent)) == (
        f"{path}:1: the cluster was not asked: {command} "
        "(only a cluster can answer: make cluster)\n"
    )


def test_an_output_that_differs_is_shown_as_a_diff_of_masked_lines(
    small: Copy, traces: Traces
) -> None:
    path = only_transcript(
        small(ORDERS), "$ date -u +%FT%TZ; echo 200 UF\n2026-01-01T00:00:00Z\n200 -\n"
    )
    assert said_on_failure(traces, "play", str(path.parent)) == (
        f"{path}:1: the output of `date -u +%FT%TZ; echo 200 UF` differs\n"
        "--- recorded\n+++ now\n@@ -1,2 +1,2 @@\n <time>\n-200 -\n+200 UF\n"
    )


def test_a_command_that_does_not_end_is_ended(small: Copy, traces: Traces) -> None:
    example = small(ORDERS)
    path = only_transcript(example, "$ true\n$ sleep 30\n")
    with (
        pytest.raises(LabError) as caught,
        Mesh(example) as mesh,
        serve(mesh) as server,
        Shell(server, example.folder, timeout=0.6) as shell,
    ):
        replay(Playing(example, mesh, server, shell), lambda _: None)
    assert str(caught.value) == f"{path}:2: no end after 1 s: sleep 30"
    traces.assert_nothing_left()


# Ports, containers and proxies


@contextlib.contextmanager
def taken(address: str, port: int) -> Iterator[None]:
    """Another program listens there."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections may linger
        listener.bind((address, port))
        listener.listen()
        yield


def address_of(example: Example, deployment: str) -> str:
    """The address of the first pod of a Deployment once all are there."""
    found = load(example.recordings)
    assert found
    pods = pods_in(found.states[1].objects)
    return next(pod.address for pod in pods if pod.deployment == deployment)


def test_a_port_of_a_gateway_in_use_is_named_in_envoys_words(copy_of: Copy, traces: Traces) -> None:
    example = copy_of(ORDERS)
    address = address_of(example, "istio-ingressgateway")
    with taken(address, 8080):
        failure = said_on_failure(traces, "play", str(example.folder))
    assert failure.startswith(f"{example.folder}/1-call.console:3: Envoy of istio-")
    assert f"cannot bind '{address}:8080': Address already in use" in failure
    assert failure.count("\n") == 1


def test_a_port_of_a_container_in_use_is_named(small: Copy, traces: Traces) -> None:
    example = small(ORDERS, CLIENT)
    address = shadow(address_of(example, "orders"))
    with taken(address, 8080):
        failure = said_on_failure(traces, "play", str(example.folder))
    assert re.fullmatch(
        rf"{example.folder}/1-call.console:3: container orders of pod orders-\w+-\w+ "
        rf"cannot listen: {address}:8080 is in use \(end what listens there\)\n",
        failure,
    )


def test_a_configuration_that_envoy_rejects_is_shown_with_envoys_message(
    copy_of: Copy, traces: Traces
) -> None:
    example = copy_of(ORDERS)
    for path in (example.recordings / "02").glob("istio-ingressgateway*.json"):
        path.write_text(path.read_text().replace('"statPrefix": "', '"statPrefix": "", "x": "'))
    with pytest.raises(LabError) as caught, playing(example) as running:
        replay(running, lambda _: None)
    assert re.fullmatch(
        rf"{example.folder}/1-call.console:3: "
        r"Envoy of istio-ingressgateway-\w+-\w+ rejected: .*x.*",
        str(caught.value),
    )
    traces.assert_nothing_left()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "python:3.13-slim",
            "redis:8",
            r"pod orders-\w+-\w+: the lab cannot play the image \S*redis:8 "
            r"\(it plays python:3… and curlimages/curl:…\)",
        ),
        (
            '"python3",\n',
            '"node",\n',
            r"container orders of pod orders-\w+-\w+ runs \['node'\]: "
            r"the lab plays python3 and sleep",
        ),
        (
            '"name": "orders"\n     },\n     "name": "app"',
            '"name": "other"\n     },\n     "name": "app"',
            r"container orders of pod orders-\w+-\w+ volume app: there is no ConfigMap 'other'",
        ),
        (
            "import http.server",
            "import no_such_module",
            r"container orders of pod orders-\w+-\w+ ended with status 1: Traceback "
            r"(.|\n)*\nModuleNotFoundError: No module named 'no_such_module' "
            r"\(mend its command; a cluster would start it again and again\)",
        ),
        (
            '(\\"0.0.0.0\\", 8080)',
            '(\\"0.0.0.0\\", 8081)',
            r"container orders of pod orders-\w+-\w+ does not listen on port 8080 "
            r"\(containerPort is a port on which the container's program listens\)",
        ),
    ],
    ids=["image", "program", "volume", "ends", "port"],
)
def test_a_container_that_does_not_run_is_named_with_the_reason(
    small: Copy,
    traces: Traces,
    monkeypatch: pytest.MonkeyPatch,
    old: str,
    new: str,
    said: str,
) -> None:
    monkeypatch.setattr(container, "_TIMEOUT", 2.0)
    example = small(ORDERS, CLIENT)
    state = example.recordings / "02" / "state.json"
    assert old in state.read_text()
    state.write_text(state.read_text().replace(old, new))
    with pytest.raises(LabError) as caught, playing(example) as running:
        replay(running, lambda _: None)
    assert re.fullmatch(f"{example.folder}/1-call.console:3: {said}", str(caught.value))
    traces.assert_nothing_left()


def test_a_container_that_ends_later_is_named_at_the_next_command(
    small: Copy, traces: Traces
) -> None:
    example = small(ORDERS, CLIENT)
    state = example.recordings / "02" / "state.json"
    later = (
        "import os, threading; threading.Timer(1, lambda: os._exit(3)).start()\\nimport http.server"
    )
    state.write_text(state.read_text().replace("import http.server", later))
    exec_ = "$ kubectl exec deploy/orders -c orders -- python3 -c 1\n"
    path = only_transcript(example, f"{START}$ sleep 1.5\n{exec_}")
    with pytest.raises(LabError) as caught, playing(example) as running:
        replay(running, lambda _: None)
    assert re.fullmatch(
        rf"{path}:3: container orders of pod orders-\w+-\w+ ended with status 3: .*",
        str(caught.value),
    )
    traces.assert_nothing_left()


# Ctrl-C and its like


@dataclass
class Phase:
    """A transcript, and the words by which processes show that the lab has come to the phase.

    `without` are the pods that it does without.
    """

    transcript: str
    words: tuple[str, ...]
    without: tuple[str, ...] = ()


STARTING = "while the mesh starts"
PROGRAM, SLEEP = "kubectl exec deploy/orders -c orders -- python3 -c", "time.sleep(31)"
CURL = "kubectl exec deploy/client -c curl -- curl -sS telnet://orders:80"
PHASES = {
    STARTING: Phase("$ true\n", ("envoy/_bin/envoy",)),
    "in a command": Phase("$ sleep 30\n", ("sleep 30",)),
    "in a program in a pod, and in a curl without end": Phase(
        f"{START}$ {PROGRAM} 'import time; {SLEEP}' & {CURL}\n", (SLEEP, "curl --disable")
    ),
}
IN_A_PROGRAM = Phase(f"{START}$ {PROGRAM} 'import time; {SLEEP}'\n", (SLEEP,), (CLIENT,))


def lab_in(phase: Phase, copy: Copy, traces: Traces) -> subprocess.Popen[str]:
    """A lab that has come to a phase."""
    path = only_transcript(copy(ORDERS, *phase.without), phase.transcript)
    lab = start_lab("play", str(path.parent))
    for word in phase.words:
        assert eventually(lambda word=word: traces.processes(word) or lab.poll() is not None)  # type: ignore[misc]
    assert lab.poll() is None
    return lab


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_lab_ends_with_all_that_it_started(
    copy_of: Copy, small: Copy, traces: Traces, phase: str, number: signal.Signals
) -> None:
    # The gateway is what starts first.
    lab = lab_in(PHASES[phase], copy_of if phase == STARTING else small, traces)
    lab.send_signal(number)
    assert lab.communicate() == ("", INTERRUPTED)
    assert lab.returncode == 130
    traces.assert_nothing_left()


def test_impatience_does_not_cut_the_ending_short(small: Copy, traces: Traces) -> None:
    lab = lab_in(IN_A_PROGRAM, small, traces)
    while lab.poll() is None:
        lab.send_signal(signal.SIGINT)
        time.sleep(0.00005)  # else this takes the processor from the lab
    assert lab.communicate() == ("", INTERRUPTED)
    assert lab.returncode == 130
    traces.assert_nothing_left()


def test_an_interruption_that_comes_before_all_is_read_in_is_answered_too(traces: Traces) -> None:
    script = "import os, runpy, signal, sys; sys.argv[1:] = ['play']; " + (
        # Importing the commands is what takes time: there the signal comes.
        "sys.meta_path.insert(0, type('Now', (), {'find_spec': staticmethod(lambda name, *_: "
        "os.kill(os.getpid(), signal.SIGINT) if name == 'lab.plays.commands' else None)})); "
        "runpy.run_module('lab', run_name='__main__')"
    )
    lab = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        check=False,
    )
    assert (lab.returncode, lab.stdout, lab.stderr) == (130, "", INTERRUPTED)
    traces.assert_nothing_left()


def test_a_killed_lab_takes_its_proxies_and_containers_with_it(small: Copy, traces: Traces) -> None:
    lab = lab_in(IN_A_PROGRAM, small, traces)
    assert traces.processes("envoy/_bin/envoy")
    assert traces.processes("server.py")
    lab.kill()
    lab.communicate()
    assert eventually(lambda: not traces.processes("envoy/_bin/envoy"))
    assert eventually(lambda: not traces.processes("server.py"))
    assert eventually(lambda: not traces.processes(SLEEP))


# A reader's shell


@dataclass
class Terminal:
    """`lab try` in a terminal of its own, as a reader sees it."""

    example: Example
    shown: str = ""
    shell: subprocess.Popen[bytes] = field(init=False)
    _screen: int = field(init=False)

    def __enter__(self) -> Terminal:
        self._screen, line = pty.openpty()
        # As from a reader's own shell, which leads the session with this terminal, and stays.
        script = (
            "import fcntl, signal, subprocess, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
            "code = subprocess.call([sys.executable, '-m', 'lab', 'try', sys.argv[1]]);"
            "print(f'the lab left {code}.', flush=True); signal.pause()"
        )
        self.shell = subprocess.Popen(
            [sys.executable, "-c", script, str(self.example.folder)],
            stdin=line,
            stdout=line,
            stderr=line,
            env=os.environ | {"PYTHONPATH": str(ROOT / "tests"), "TERM": "dumb"},
            start_new_session=True,
        )
        os.close(line)
        os.set_blocking(self._screen, False)
        return self

    def __exit__(self, *_: object) -> None:
        self.shell.kill()
        self.shell.wait()
        self.close()

    @property
    def lab(self) -> int:
        """The lab's process id."""
        children = Path(f"/proc/{self.shell.pid}/task/{self.shell.pid}/children")
        return int(children.read_text())

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def shows(self, text: str) -> bool:
        """Whether a text appears from where the last one ended."""
        if not eventually(lambda: text in self._read()):
            return False
        self.shown = self.shown.partition(text)[2]
        return True

    def _read(self) -> str:
        with contextlib.suppress(OSError):
            self.shown += os.read(self._screen, 65536).decode()
        return self.shown

    def close(self) -> None:
        if self._screen >= 0:
            os.close(self._screen)
        self._screen = -1


@pytest.fixture
def terminal(small: Copy, traces: Traces) -> Iterator[Terminal]:
    """A reader's shell in the mesh of an example, at its first prompt."""
    example = small(ORDERS)
    only_transcript(example, f"{START}$ ANSWER='4 2'\n$ twice() {{ echo $1 $1; }}\n")
    with Terminal(example) as terminal:
        assert terminal.shows("its mesh is running. Leave with exit.")
        assert terminal.shows("(lab) $ ")
        yield terminal
    traces.assert_nothing_left()


def test_a_reader_goes_on_where_the_transcripts_ended_and_ctrl_c_ends_what_runs_in_the_shell(
    terminal: Terminal, traces: Traces
) -> None:
    terminal.type('twice "$ANSWER"\n')
    assert terminal.shows("4 2 4 2")
    terminal.type("kubectl exec deploy/client -c curl -- curl -s http://orders/5\n")
    assert terminal.shows("order /5")
    for command, word in (("sleep 30", "sleep 30"), (CURL, "curl --disable")):
        terminal.type(command + "\n")
        assert eventually(lambda word=word: traces.processes(word))  # type: ignore[misc]
        terminal.type("\x03")
        assert eventually(lambda word=word: not traces.processes(word))  # type: ignore[misc]
    assert terminal.shows("(lab) $ ")
    terminal.type("echo $((40 + 2)) here\n")
    assert terminal.shows("42 here")
    terminal.type("exit 7\n")
    assert terminal.shows("the lab left 7.")


def test_sigterm_ends_the_readers_shell_and_what_runs_in_it(
    terminal: Terminal, traces: Traces
) -> None:
    terminal.type("sleep 30\n")
    assert eventually(lambda: traces.processes("sleep 30"))
    os.kill(terminal.lab, signal.SIGTERM)
    assert terminal.shows(INTERRUPTED.strip())
    assert terminal.shows("the lab left 130.")
    assert eventually(lambda: not traces.processes("sleep 30"))


def test_closing_the_terminal_ends_the_readers_shell_and_what_runs_in_it(
    terminal: Terminal, traces: Traces
) -> None:
    terminal.type("sleep 30\n")
    assert eventually(lambda: traces.processes("sleep 30"))
    terminal.close()
    terminal.shell.wait()
