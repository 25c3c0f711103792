"""The cluster, as far as that needs none: what it builds, asks, writes and says when it fails."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from cluster import commands, components, groups, images, install, kept, keys, needs, parts, paths
from cluster.addresses import BALANCED
from cluster.balancer import Balancer
from cluster.errors import ClusterError, last_lines
from cluster.first import Supervisor
from cluster.groups import Group
from cluster.kept import Part, have
from cluster.needs import Machine
from cluster.registry import Server
from cluster.state import State, born, name_of, read, tidy
from cluster.world import World
from cryptography import x509
from lab.paths import ROOT
from lab.versions import ISTIO, ISTIOS

# What is built, and what is kept


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, which is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return paths.cache()


def part(*inputs: str, made: list[str] | None = None, fails: bool = False) -> Part:
    def make(folder: Path) -> None:
        if made is not None:
            made.append(folder.name)
        (folder / "file").write_text("content")
        if fails:
            raise ClusterError("no such version")

    return Part("sample", "the sample", inputs, make)


def test_a_part_is_built_once_and_kept_for_the_next_clone(cache: Path) -> None:
    made: list[str] = []
    said: list[str] = []
    first, second = (have(part("1", made=made), said.append) for _ in range(2))
    assert first == second
    assert first.parent == cache
    assert len(made) == 1
    assert said[0] == "building the sample ..."
    assert re.fullmatch(r"built the sample in \d+ s", said[1])


def test_a_part_whose_inputs_change_is_built_anew(cache: Path) -> None:
    assert have(part("1"), print) != have(part("2"), print)
    assert part("1", "2").digest != part("12").digest
    assert len(list(cache.glob("sample-*"))) == 2


def test_a_part_that_fails_does_not_count_as_built(cache: Path) -> None:
    with pytest.raises(ClusterError, match="no such version"):
        have(part("1", fails=True), print)
    assert [path.name for path in cache.iterdir()] == ["sample.lock"]


def test_what_nobody_uses_is_forgotten_and_so_is_what_was_interrupted(cache: Path) -> None:
    old, used = have(part("1"), print), have(part("2"), print)
    interrupted = cache / ".sample-1"
    interrupted.mkdir()
    other = cache / "sample-more-0123456789abcdef"
    other.mkdir()
    for path in (old, used, other):
        os.utime(path, (0, 0))
    have(part("2"), print)
    have(part("3"), print)
    assert [path.exists() for path in (old, used, other)] == [False, True, True]
    assert not interrupted.exists()


def test_a_full_disk_is_one_line_with_its_remedy() -> None:
    def fill(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "file"))

    with pytest.raises(ClusterError) as told:
        have(Part("sample", "the sample", (), fill), print)
    [line] = str(told.value).splitlines()
    assert line.startswith("the sample: No space left on device: ")
    assert line.endswith("(free some space, or name another folder by XDG_CACHE_HOME)")


def test_a_build_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    script = "for i in 1 2 3 4 5 6 7; do echo line $i; done; exit 3"
    with pytest.raises(ClusterError) as told:
        kept.run(["sh", "-c", script], tmp_path / "log", "building the sample")
    first, *log = str(told.value).splitlines()
    assert first == "building the sample failed with exit code 3"
    assert log == [f"  | line {number}" for number in (3, 4, 5, 6, 7)]


def test_a_program_that_a_build_needs_is_named_if_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="building it needs no-such-program, which is not there"):
        kept.run(["no-such-program"], tmp_path / "log", "building it")


def test_a_version_that_go_does_not_know_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    go.write_text(
        '#!/bin/sh\ncase $1 in env) echo go1.26 ;; *) echo "unknown revision v9" >&2; exit 1; esac'
    )
    go.chmod(0o755)
    monkeypatch.setenv("GO", str(go))
    parts._go_version.cache_clear()
    try:
        with pytest.raises(ClusterError) as told:
            have(parts.coredns(), print)
    finally:
        parts._go_version.cache_clear()
    assert str(told.value).splitlines() == [
        "building coredns failed with exit code 1",
        "  | unknown revision v9",
    ]


@pytest.mark.parametrize("part", [parts.debian, parts.dig])
def test_a_debian_version_that_is_gone_is_told_with_the_one_that_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: Callable[[], Part]
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in {
        "apt-get": """case "$*" in
        *download*) echo "E: Version '1' for 'runc' was not found" >&2; exit 100
        esac""",
        "apt-cache": "echo '  Candidate: 2'",
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    with pytest.raises(ClusterError) as told:
        have(part(), print)
    assert str(told.value).startswith(
        "Debian's archive does not serve runc 1 (it has 2: pin that in parts.py)"
    )


def test_an_envoy_without_a_hash_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"Envoy 1\.0\.0 has no hash"):
        parts.envoy("1.0.0")


@pytest.mark.parametrize("istio", ISTIOS.values(), ids=lambda istio: istio.label)
def test_the_cluster_builds_the_istio_that_the_guide_names(istio: Any) -> None:
    pinned = paths.GO / f"istio-{istio.label}" / "go.mod"
    assert f"v{parts.module_version('istio.io/istio', pinned)}" == istio.module
    assert istio.envoy in parts.ENVOY_HASHES


@pytest.mark.parametrize(
    "module", ["kubernetes", "coredns", "collector", "istio-1.31", "istio-1.30"]
)
def test_the_checksums_of_all_modules_are_committed(module: str) -> None:
    assert len((paths.GO / module / "go.sum").read_text().splitlines()) > 50


def test_an_unknown_istio_is_refused_with_those_that_are_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert commands.run(["up", "--istio", "1.2"]) == 1
    assert capsys.readouterr().err == (
        "cluster: there is no Istio '1.2' here (known are 1.31 and 1.30)\n"
    )


def test_the_help_tells_every_command() -> None:
    command = [sys.executable, "-m", "cluster", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for word in ("up", "build", "down", "run", "needs root on Linux"):
        assert word in done.stdout


# What a machine must have

GOOD = Machine(
    system="Linux",
    processor="x86_64",
    release="ID=debian\nVERSION_CODENAME=bookworm\n",
    capabilities=(1 << 41) - 1,
    memory=8,
    disk=50,
    tools=frozenset(needs.TOOLS),
    controllers=groups.NEEDED | {"io"},
    tried="",
)


def test_a_machine_that_has_all_is_told_nothing() -> None:
    assert needs.missing(GOOD, built=False) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"system": "Darwin"},
            "a cluster needs Linux, this is Darwin (run it in a virtual machine)",
        ),
        ({"processor": "aarch64"}, "a cluster needs an x86_64 processor, this is aarch64"),
        (
            {"release": "VERSION_CODENAME=noble\n"},
            "the parts are built on Debian bookworm (use such a machine or container)",
        ),
        (
            {"capabilities": 0xFFFF_FFFF & ~(1 << 21) & ~(1 << 27)},
            "not allowed: CAP_SYS_ADMIN, CAP_MKNOD (run it as root, in a container with "
            "--privileged)",
        ),
        (
            {"tools": frozenset(needs.TOOLS) - {"ip"}},
            "there is no program ip (apt-get install iproute2)",
        ),
        ({"memory": 1.5}, "1.5 GiB of memory are free, 4 are needed (end other programs)"),
        (
            {"controllers": groups.NEEDED - {"cpuset"}},
            "the cgroup controller cpuset is not given to groups "
            "(echo +cpuset > /sys/fs/cgroup/cgroup.subtree_control)",
        ),
        (
            {"tried": "the kernel has no overlayfs here (modprobe overlay)"},
            "the kernel has no overlayfs here (modprobe overlay)",
        ),
    ],
)
def test_each_thing_that_is_missing_has_its_line(change: dict[str, Any], line: str) -> None:
    assert needs.missing(dataclasses.replace(GOOD, **change), built=False) == [line]


def test_a_full_disk_is_told_before_anything_is_built(cache: Path) -> None:
    [line] = needs.missing(dataclasses.replace(GOOD, disk=1), built=False)
    assert line.startswith(f"1.0 GiB are free in {cache}, {needs.DISK} are needed (")


def test_what_only_builds_need_is_not_asked_for_when_all_is_built() -> None:
    machine = dataclasses.replace(
        GOOD, release="", tools=GOOD.tools - {"apt-get", "wget"}, disk=needs.DISK_BUILT
    )
    assert needs.missing(machine, built=True) == []
    assert len(needs.missing(machine, built=False)) == 4


def test_all_that_is_missing_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = dataclasses.replace(GOOD, memory=1, processor="riscv64")
    monkeypatch.setattr(needs, "this", lambda: machine)
    with pytest.raises(ClusterError) as told:
        needs.check(built=True)
    assert str(told.value).splitlines() == [
        "this machine cannot run a cluster",
        "  | a cluster needs an x86_64 processor, this is riscv64",
        "  | 1.0 GiB of memory are free, 4 are needed (end other programs)",
    ]


# Images


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """The images of two layers, in their folder."""
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "tool").write_text("#!/bin/sh\n")
    (root / "bin" / "tool").chmod(0o755)
    (root / "bin" / "link").symlink_to("tool")
    agent = tmp_path / "agent"
    agent.write_text("agent")
    folder = tmp_path / "images"
    folder.mkdir()
    added = [images.File("var/own", owner=1337), images.File("var/own/agent", agent, 1337, 0o600)]
    images.write(
        folder,
        [
            images.Image("docker.io/library/one:1", ("base",), {"Cmd": ["tool"]}),
            images.Image("docker.io/some/two:2", ("base", "more"), {"User": "1337"}),
        ],
        {
            "base": lambda tar: images.add_tree(tar, root),
            "more": lambda tar: images.add(tar, added),
        },
    )
    return folder


def blob(layout: Path, descriptor: dict[str, Any]) -> bytes:
    path: Path = layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")
    data = path.read_bytes()
    assert len(data) == descriptor["size"]
    return data


def test_an_image_is_what_the_standard_says(layout: Path) -> None:
    index = json.loads((layout / "index.json").read_text())
    one, two = index["manifests"]
    assert one["annotations"]["io.containerd.image.name"] == "docker.io/library/one:1"
    manifest = json.loads(blob(layout, two))
    config = json.loads(blob(layout, manifest["config"]))
    assert config["config"] == {"User": "1337"}
    digests = [layer["digest"] for layer in manifest["layers"]]
    assert config["rootfs"]["diff_ids"] == digests  # as layers are not compressed
    assert digests[0] == json.loads(blob(layout, one))["layers"][0]["digest"]
    assert len(list((layout / "blobs" / "sha256").iterdir())) == 6


def test_a_layer_has_owners_modes_and_links(layout: Path) -> None:
    two = json.loads((layout / "index.json").read_text())["manifests"][1]
    base, more = json.loads(blob(layout, two))["layers"]
    with tarfile.open(fileobj=io.BytesIO(blob(layout, base))) as tar:
        assert tar.getmember("bin/tool").mode == 0o755
        assert tar.getmember("bin/link").linkname == "tool"
    with tarfile.open(fileobj=io.BytesIO(blob(layout, more))) as tar:
        folder, file = tar.getmembers()
        assert (folder.isdir(), folder.uid) == (True, 1337)
        assert (file.uid, file.mode, file.mtime, file.size) == (1337, 0o600, 0, 5)


def test_the_same_files_give_the_same_images(layout: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in (layout / "blobs" / "sha256").iterdir())
    again = tmp_path / "again"
    again.mkdir()
    images.write(
        again,
        [images.Image("docker.io/library/one:1", ("base",), {"Cmd": ["tool"]})],
        {"base": lambda tar: images.add_tree(tar, tmp_path / "root")},
    )
    assert {path.name for path in (again / "blobs" / "sha256").iterdir()} <= set(before)


def test_containerd_gets_the_images_as_one_tar(layout: Path) -> None:
    out = io.BytesIO()
    images.stream(layout, out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        names = tar.getnames()
    assert names[:2] == ["oci-layout", "index.json"]
    assert len([name for name in names if name.startswith("blobs/sha256/")]) == 6


def test_istio_and_the_examples_find_their_images() -> None:
    names = {image.name.removeprefix("docker.io/") for image in images.images(ISTIO)}
    assert {f"istio/proxyv2:{ISTIO.release}", f"istio/pilot:{ISTIO.release}"} <= names
    used = set()
    for manifest in (ROOT / "examples").rglob("*.yaml"):
        used |= set(re.findall(r'^\s*(?:- )?image: "?([^\s#",]+)', manifest.read_text(), re.M))
    used.discard("auto")  # what the injector puts in
    used.discard("registry.example.com/practices/stock:1")  # only the API server sees this one
    assert used
    assert {name.removeprefix("library/") for name in names} >= used


# The registry


@pytest.fixture
def registry(layout: Path) -> Iterator[str]:
    """Where a registry with the images is."""
    with Server(layout, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def get(url: str, method: str = "GET") -> tuple[int, str | None, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method)) as answer:  # noqa: S310
            return answer.status, answer.headers["docker-content-digest"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None, error.read()


def test_the_registry_offers_what_containerd_asks(registry: str, layout: Path) -> None:
    two = json.loads((layout / "index.json").read_text())["manifests"][1]
    assert get(f"{registry}/v2/")[0] == 200
    status, digest, body = get(f"{registry}/v2/some/two/manifests/2?ns=docker.io")
    assert (status, digest, body) == (200, two["digest"], blob(layout, two))
    assert get(f"{registry}/v2/some/two/manifests/2", "HEAD") == (200, digest, b"")
    layer = json.loads(body)["layers"][1]
    assert get(f"{registry}/v2/some/two/blobs/{layer['digest']}")[2] == blob(layout, layer)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v2/some/two/manifests/3",
        "/v2/some/two/blobs/2",
        "/v2/some/two/blobs/sha256:..%2f..%2findex.json",
        "/v2/some/two/blobs/sha256:" + "0" * 64,
    ],
)
def test_the_registry_has_nothing_else(registry: str, path: str) -> None:
    assert get(registry + path)[0] == 404


# Addresses of load balancers


def service(name: str, address: str = "", kind: str = "LoadBalancer") -> dict[str, Any]:
    ingress = {"ingress": [{"ip": address}]} if address else {}
    return {
        "metadata": {"namespace": "default", "name": name},
        "spec": {"type": kind},
        "status": {"loadBalancer": ingress},
    }


def test_each_load_balancer_gets_an_address_of_its_own() -> None:
    balancer = Balancer()
    network = BALANCED.rpartition(".")[0]
    assert balancer.decide(service("taken", f"{network}.200")) is None
    assert balancer.decide(service("inside", kind="ClusterIP")) is None
    assert balancer.decide(service("one")) == f"{network}.201"
    assert balancer.decide(service("one")) == f"{network}.201"
    assert balancer.decide(service("two")) == f"{network}.202"


def test_an_address_that_is_given_back_is_given_again() -> None:
    balancer = Balancer()
    first = balancer.decide(service("one"))
    assert balancer.decide(service("one"), deleted=True) is None
    assert balancer.decide(service("two")) == first
    assert balancer.decide(service("two", kind="ClusterIP")) is None
    assert balancer.decide(service("three")) == first


# Keys


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "keys"
    keys.make(folder)
    return folder


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_each_user_has_a_certificate_of_the_authority(made: Path) -> None:
    root = certificate(made / "ca.crt")
    for name, (user, group) in keys.USERS.items():
        found = certificate(made / f"{name}.crt")
        found.verify_directly_issued_by(root)
        subject = found.subject.rfc4514_string()
        assert subject == f"CN={user}" + (f",O={group}" if group else "")


def test_the_api_server_has_the_names_that_clients_use(made: Path) -> None:
    extension = certificate(made / "apiserver.crt").extensions
    names = extension.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)
    assert "10.96.0.1" in map(str, names.get_values_for_type(x509.IPAddress))


def test_nobody_else_can_read_a_key(made: Path) -> None:
    assert made.stat().st_mode & 0o777 == 0o700
    for path in made.glob("*.key"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_kubeconfig_names_the_files_of_its_user(made: Path) -> None:
    config = yaml.safe_load((made / "balancer.kubeconfig").read_text())
    [user] = config["users"]
    for path in user["user"].values():
        assert (made / Path(path).name).exists()


def test_two_clusters_have_different_keys(made: Path, tmp_path: Path) -> None:
    keys.make(tmp_path / "keys")
    assert (tmp_path / "keys" / "ca.key").read_text() != (made / "ca.key").read_text()


def test_no_key_is_committed() -> None:
    command = ["git", "grep", "-lE", "^-----BEGIN [A-Z ]*PRIVATE KEY", "--", "tests/cluster"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.stdout == ""


# Cgroups

V1 = """\
30 20 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
31 20 0:27 / /sys/fs/cgroup/memory rw,nosuid shared:10 - cgroup cgroup rw,memory
32 20 0:28 / /sys/fs/cgroup/systemd rw,nosuid - cgroup cgroup rw,xattr,name=systemd
33 20 0:29 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
34 20 0:30 / /proc rw - proc proc rw
"""
V1_MEMBER = "4:cpu,cpuacct:/\n3:memory:/user/7\n2:name=systemd:/user\n0::/user\n"


def test_a_cluster_has_a_group_in_each_hierarchy_of_the_older_kind() -> None:
    found = groups.plan("mine", V1, V1_MEMBER)
    assert found == [
        Group(Path("/sys/fs/cgroup/cpu,cpuacct/mine"), "cpu,cpuacct"),
        Group(Path("/sys/fs/cgroup/memory/user/7/mine"), "memory"),
        Group(Path("/sys/fs/cgroup/systemd/user/mine"), "name=systemd"),
    ]


def test_a_cluster_has_one_group_at_the_top_of_the_newer_kind() -> None:
    mounts = "33 20 0:29 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
    [found] = groups.plan("mine", mounts, "0::/user.slice/user-0.slice\n")
    assert found == Group(Path("/sys/fs/cgroup/mine"), "")
    assert found.unified


def test_a_group_in_a_container_is_below_what_it_sees() -> None:
    mounts = "31 20 0:27 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    [found] = groups.plan("mine", mounts, "3:memory:/docker/1/inner\n")
    assert found.path == Path("/sys/fs/cgroup/memory/inner/mine")


def test_groups_are_removed_with_those_below(tmp_path: Path) -> None:
    top = tmp_path / "mine"
    (top / "kubepods" / "pod").mkdir(parents=True)
    groups.remove([Group(top, "memory")])
    assert not top.exists()


# Components


def test_a_component_that_dies_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    script = "echo begins; echo 'no space left' >&2; exit 7"
    supervisor.start(components.Component("etcd", ("sh", "-c", script)))
    with pytest.raises(ClusterError) as told:
        supervisor.wait(lambda: False, "etcd")
    assert str(told.value).splitlines() == [
        "etcd ended with exit code 7",
        "  | begins",
        "  | no space left",
    ]


def test_a_component_that_dies_later_is_noticed(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    supervisor.start(components.Component("kubelet", ("sh", "-c", "sleep 0.1; kill -9 $$")))
    lasting = components.Component("etcd", ("sleep", "60"))
    supervisor.start(lasting)
    try:
        with pytest.raises(ClusterError, match="kubelet ended by signal 9"):
            supervisor.watch()
    finally:
        for process in supervisor.running.values():
            process.kill()
            process.wait()


def test_a_component_sees_the_variables_of_its_own_and_those_of_the_world(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    words = ("sh", "-c", 'echo $GOGC; test -n "$PATH" && echo there')
    supervisor.start(components.Component("etcd", words, environment={"GOGC": "400"}))
    supervisor.running["etcd"].wait()
    assert (tmp_path / "etcd.log").read_text() == "400\nthere\n"


def test_a_component_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="cannot start etcd: No such file or directory: /none"):
        Supervisor(tmp_path).start(components.Component("etcd", ("/none",)))


def test_a_step_that_takes_too_long_is_told(tmp_path: Path) -> None:
    (tmp_path / "kube-apiserver.log").write_text("waits for etcd\n")
    with pytest.raises(ClusterError, match="kube-apiserver: not done after 0 s") as told:
        Supervisor(tmp_path).wait(lambda: False, "kube-apiserver", seconds=0.05)
    assert told.value.log == ("waits for etcd",)


def test_a_step_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="istioctl failed with exit code 2"):
        Supervisor(tmp_path).run("istioctl", ["sh", "-c", "exit 2"])


def test_the_end_of_a_log_is_short(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("a\n\n" + "b" * 1000 + "\n")
    assert last_lines(log) == ("a", "b" * 300)
    assert last_lines(tmp_path / "none") == ()


def test_what_listens_is_on_an_address_of_the_cluster() -> None:
    for path in paths.CONF.rglob("*"):
        if path.is_file():
            assert "0.0.0.0:" not in path.read_text()


# Installing Istio


def test_an_example_adds_to_the_configuration_of_the_mesh() -> None:
    mesh = {"accessLogFile": "", "defaultConfig": {"holdApplicationUntilProxyStarts": True}}
    spec = install.operator(ISTIO, mesh)["spec"]
    assert spec["tag"] == ISTIO.release
    assert spec["meshConfig"] == {
        "accessLogFile": "",
        "defaultConfig": {"concurrency": 1, "holdApplicationUntilProxyStarts": True},
    }


# What runs, and what is left


def test_without_a_cluster_a_line_says_how_to_start_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.run(["--folder", str(tmp_path), "run", "true"]) == 1
    assert capsys.readouterr().err == ("cluster: there is no cluster (start it: make cluster)\n")


def test_the_folder_of_a_cluster_may_be_named_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found: list[Path] = []

    def world(folder: Path) -> World:
        found.append(folder)
        return World(folder)

    monkeypatch.setattr(commands, "World", world)
    assert commands.run(["--folder", "mine", "down"]) == 0
    assert found == [tmp_path / "mine"]


def test_a_cluster_that_has_died_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "world").mkdir()
    told = {"error": "etcd ended with exit code 1", "log": ["disk full"]}
    (tmp_path / "world" / "died.json").write_text(json.dumps(told))
    assert commands.run(["--folder", str(tmp_path), "run", "true"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "cluster: the cluster has ended: etcd ended with exit code 1 (start it: make cluster)",
        "  | disk full",
    ]


def test_two_clones_have_clusters_of_different_names(tmp_path: Path) -> None:
    assert name_of(tmp_path / "a") != name_of(tmp_path / "b")
    assert name_of(tmp_path / "a") == name_of(tmp_path / "a")


def test_a_process_is_known_by_its_birth(tmp_path: Path) -> None:
    me = psutil.Process()
    state = State(tmp_path, 1, 2.0, (Group(Path("/g"), "cpu"),), me.pid, me.create_time())
    state.write()
    assert read(tmp_path) == state
    assert World(tmp_path).first == me.pid
    dataclasses.replace(state, first_born=1.0).write()
    assert World(tmp_path).first is None
    assert born(2**22 + 1) is None


def test_what_a_cluster_leaves_are_its_logs(tmp_path: Path) -> None:
    world = tmp_path / "world"
    for folder in ("log", "keys", "etcd"):
        (world / folder).mkdir(parents=True)
    (world / "keys" / "ca.key").touch()
    (world / "parts").symlink_to(tmp_path)
    state = State(tmp_path, 1, 2.0, ())
    state.write()
    tidy(state)
    assert [path.name for path in world.iterdir()] == ["log"]
    assert read(tmp_path) is None
    assert World(tmp_path).down() is False
