"""Secrets: how they are made, which of their contents a proxy gets, and where keys never go."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import turn
from lab import xds
from lab.cluster import Cluster, Pod
from lab.credentials import filled
from lab.istiod import Source
from lab.manifests import Object
from lab.paths import EXAMPLES, RECORDINGS, TEST_EXAMPLES
from lab.play import Playing, playing
from lab.replay import Replay

SHOP = "lab/shop"

# From Secrets to Envoy


def secret(name: str, namespace: str = "istio-system", **data: str) -> Object:
    """A Secret; a key such as `tls_crt` stands for `tls.crt`."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": {key.replace("_", "."): encoded(value) for key, value in data.items()},
    }


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def sent(name: str, *items: Object) -> dict[str, Any] | None:
    """The Secret of that SDS name as a proxy in istio-system gets it."""
    resources = filled({"secrets": [name]}, [*items], "istio-system")
    return next(iter(resources["secrets"]), None)


def pair(name: str, chain: str, key: str) -> dict[str, Any]:
    parts = {"certificateChain": chain, "privateKey": key}
    inline = {part: {"inlineBytes": encoded(value)} for part, value in parts.items()}
    return {"name": name, "tlsCertificate": inline}


def root(name: str, text: str) -> dict[str, Any]:
    trusted = {"trustedCa": {"inlineBytes": encoded(text)}}
    return {"name": name, "validationContext": trusted}


@pytest.mark.parametrize(
    ("name", "item", "expected"),
    [
        (
            "kubernetes://shop",
            secret("shop", tls_crt="C", tls_key="K", ca_crt="R"),
            pair("kubernetes://shop", "C", "K"),
        ),
        (
            "kubernetes://shop",
            secret("shop", cert="C", key="K", cacert="R"),
            pair("kubernetes://shop", "C", "K"),
        ),
        (
            "kubernetes-gateway://blog/blog",
            secret("blog", "blog", tls_crt="C", tls_key="K"),
            pair("kubernetes-gateway://blog/blog", "C", "K"),
        ),
        (
            "kubernetes://shop-cacert",
            secret("shop", tls_crt="C", tls_key="K", ca_crt="R"),
            root("kubernetes://shop-cacert", "R"),
        ),
        (
            "kubernetes://shop-cacert",
            secret("shop-cacert", cacert="R"),
            root("kubernetes://shop-cacert", "R"),
        ),
        (
            "configmap://shop/roots",
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "roots", "namespace": "shop"},
                "data": {"ca.crt": "R"},
            },
            root("configmap://shop/roots", "R"),
        ),
    ],
)
def test_a_proxy_gets_the_certificate_or_the_root_that_an_sds_name_stands_for(
    name: str, item: Object, expected: dict[str, Any]
) -> None:
    assert sent(name, item) == expected


@pytest.mark.parametrize(
    "item",
    [
        secret("other", tls_crt="C", tls_key="K"),
        secret("shop", "shop", tls_crt="C", tls_key="K"),
        secret("shop", tls_crt="C"),
        secret("shop", tls_crt="C", tls_key=""),
        secret("shop", cert="C", tls_key="K"),
    ],
)
def test_a_proxy_gets_nothing_from_another_secret_or_from_half_a_one(item: Object) -> None:
    assert sent("kubernetes://shop", item) is None


def test_text_in_a_secret_is_kept_as_the_api_server_keeps_it() -> None:
    cluster = Cluster("127.80.3")
    item = secret("shop", key="K") | {"stringData": {"cert": "C"}}
    cluster.apply(item, None)
    (kept,) = cluster.snapshot()
    assert kept["data"] == {"key": encoded("K"), "cert": encoded("C")}
    assert kept["type"] == "Opaque"
    assert "stringData" not in kept


def test_a_proxy_is_served_each_secret_and_nothing_for_a_missing_one() -> None:
    names = ["kubernetes://shop", "kubernetes-gateway://blog/blog", "default"]
    configs = [{"name": name, "sdsConfig": {"ads": {}}} for name in names]
    listener = {"name": "0.0.0.0_8443", "address": {"socketAddress": {}}, "tls": configs}
    empty: dict[str, Any] = {"routes": [], "clusters": [], "endpoints": []}
    resources = empty | {"listeners": [listener], "secrets": [{"name": "kubernetes://shop"}]}
    pod = Pod({"spec": {"containers": []}, "status": {"podIP": "127.80.3.11"}})
    served = xds.responses(resources, [{"name": "default"}], pod)
    given = {key[1]: xds.resources(text) for key, text in served.items() if key[0] == "secrets"}
    assert {name: len(found) for name, found in given.items()} == dict(
        zip(names, (1, 0, 1), strict=True)
    )
    (fitted,) = xds.resources(served["listeners", ""])
    assert [config["sdsConfig"] for config in fitted["tls"]] == [xds.SOURCE] * 3


# kubectl create secret


@pytest.fixture(scope="module")
def keys() -> Iterator[Path]:
    """A folder with two pairs of key and certificate for one host, and a file that is neither."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("shop", "blog"):
            command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
            command += ["-addext", "subjectAltName=DNS:shop.example.com"]
            command += ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
        Path(folder, "nonsense").write_text("nonsense")
        yield Path(folder)


@pytest.fixture(scope="module")
def mesh() -> Iterator[Playing]:
    with turn(SHOP) as example, playing(example, Source.RECORDED) as running:
        yield running


Sh = Callable[[str], tuple[str, int]]


@pytest.fixture
def sh(mesh: Playing, keys: Path) -> Sh:
    """Runs a command in the folder of keys; gives what it printed, and its exit code."""

    def run(command: str) -> tuple[str, int]:
        *lines, code = mesh.shell.run(f"cd {keys}; {command}\nprintf '\\n%s' $?")
        assert mesh.server.failures == []
        return "\n".join(lines).rstrip("\n"), int(code)

    return run


PLAIN = "--dry-run=client -o yaml"


def test_a_tls_secret_holds_the_two_files(sh: Sh, keys: Path) -> None:
    text, code = sh(f"kubectl create secret tls shop-tls --cert=shop.crt --key=shop.key {PLAIN}")
    item = yaml.safe_load(text)
    assert code == 0
    assert (item["type"], item["metadata"]["name"]) == ("kubernetes.io/tls", "shop-tls")
    assert {name: base64.b64decode(data) for name, data in item["data"].items()} == {
        "tls.crt": (keys / "shop.crt").read_bytes(),
        "tls.key": (keys / "shop.key").read_bytes(),
    }


def test_a_generic_secret_holds_files_and_literals_by_their_keys(sh: Sh) -> None:
    sources = "--from-file=nonsense --from-file=two=nonsense --from-literal=three=a=b"
    text, code = sh(f"kubectl create secret generic many {sources} {PLAIN}")
    item = yaml.safe_load(text)
    assert (code, item["type"]) == (0, "Opaque")
    assert item["data"] == {
        "nonsense": encoded("nonsense"),
        "two": encoded("nonsense"),
        "three": encoded("a=b"),
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("tls a --cert=shop.crt", "error: key and cert must be specified"),
        (
            "tls a --cert=nope --key=shop.key",
            "error: Cannot read file nope, open nope: no such file or directory",
        ),
        (
            "tls a --cert=shop.crt --key=blog.key",
            "error: tls: private key does not match public key",
        ),
        (
            "tls a --cert=nonsense --key=shop.key",
            "error: tls: failed to find any PEM data in certificate input",
        ),
        (
            "tls a --cert=shop.crt --key=nonsense",
            "error: tls: failed to find any PEM data in key input",
        ),
        ("generic a --from-file=nope", "error: error reading nope: no such file or directory"),
        (
            "generic a --from-literal=nope",
            "error: invalid literal source nope, expected key=value",
        ),
        (
            "generic a --from-file=k=nonsense --from-file=k=shop.key",
            "error: cannot add key k, another key by that name already exists",
        ),
        (
            "tls a --cert=shop.crt --key=shop.key -n nowhere",
            'error: failed to create secret namespaces "nowhere" not found',
        ),
    ],
)
def test_a_secret_that_cannot_be_made_is_refused_in_kubectls_words(
    sh: Sh, words: str, said: str
) -> None:
    assert sh(f"kubectl create secret {words}") == (said, 1)


# A gateway that ends TLS

HOSTS = "lab/hosts"


@pytest.fixture(scope="module")
def gateway(keys: Path) -> Iterator[Playing]:
    """The shop behind the TLS gateway, as the first transcript has it before the blog comes."""
    with turn(HOSTS) as example, playing(example, Source.RECORDED) as running:
        create = "kubectl -n istio-system create secret tls"
        for name in ("shop", "blog"):
            pair = f"--cert={keys}/{name}.crt --key={keys}/{name}.key"
            running.shell.run(f"{create} {name}-tls {pair}")
        running.shell.run("kubectl apply -f teams.yaml -f shop.yaml")
        yield running


def https(gateway: Playing, trusted: Path, options: str = "") -> tuple[str, str]:
    """What a client that trusts one certificate gets from the shop, and the name of the error."""
    address = f"{gateway.example.network}.2"
    options = options or f"--resolve shop.example.com:443:{address}"
    options = options.format(address)
    command = f"curl -sS --cacert {trusted} {options} https://shop.example.com/ 2>&1; echo $?"
    first, *_, code = gateway.shell.run(command)
    return first, code


def put(gateway: Playing, keys: Path, name: str) -> list[str]:
    """Replaces the shop's Secret by the pair of that name."""
    pair = f"--cert={keys}/{name}.crt --key={keys}/{name}.key"
    return gateway.shell.run(
        f"kubectl -n istio-system create secret tls shop-tls {pair} {PLAIN} | kubectl apply -f -"
    )


def test_a_host_is_served_with_the_certificate_of_its_secret(gateway: Playing, keys: Path) -> None:
    assert https(gateway, keys / "shop.crt") == ("the shop", "0")
    assert https(gateway, keys / "blog.crt")[1] == "60"


def test_curl_reaches_a_tls_gateway_by_the_callers_own_connect_to(
    gateway: Playing, keys: Path
) -> None:
    option = "--connect-to shop.example.com:443:{}:443"
    assert https(gateway, keys / "shop.crt", option) == ("the shop", "0")
    assert https(gateway, keys / "shop.crt", option.replace("{}:443", "{}:444"))[1] == "7"


def test_a_changed_secret_is_pushed_to_a_running_gateway(gateway: Playing, keys: Path) -> None:
    assert put(gateway, keys, "blog") == ["secret/shop-tls configured"]
    assert https(gateway, keys / "blog.crt") == ("the shop", "0")
    assert https(gateway, keys / "shop.crt")[1] == "60"
    put(gateway, keys, "shop")
    assert https(gateway, keys / "shop.crt") == ("the shop", "0")


def test_a_secret_that_envoy_refuses_leaves_the_old_one_in_use(
    gateway: Playing, keys: Path
) -> None:
    data = {"tls.crt": encoded("nonsense"), "tls.key": encoded("nonsense")}
    nonsense = secret("shop-tls") | {"type": "kubernetes.io/tls", "data": data}
    text = json.dumps(nonsense)
    assert gateway.shell.run(f"kubectl apply -f - <<'END'\n{text}\nEND") == [
        "secret/shop-tls configured"
    ]
    assert https(gateway, keys / "shop.crt") == ("the shop", "0")
    put(gateway, keys, "shop")
    assert gateway.server.failures == []


def test_secrets_of_the_proxy_itself_are_shown_as_on_a_cluster(gateway: Playing) -> None:
    request = "kubectl -n istio-system exec deploy/istio-ingressgateway -- pilot-agent request GET"
    dump = "\n".join(gateway.shell.run(f"{request} config_dump?resource=dynamic_active_secrets"))
    names = {item["name"]: item["secret"] for item in json.loads(dump)["configs"]}
    assert names.keys() == {"default", "ROOTCA", "kubernetes://shop-tls"}
    private = names["kubernetes://shop-tls"]["tls_certificate"]["private_key"]
    assert base64.b64decode(private["inline_bytes"]) == b"[redacted]"
    assert "inline_bytes" in names["ROOTCA"]["validation_context"]["trusted_ca"]


# A gateway of the cluster

CLUSTERS = "problems/duplicate-tls-hosts"


def test_a_secret_that_is_made_again_is_pushed_though_the_recorded_state_stays(keys: Path) -> None:
    with turn(CLUSTERS) as example, playing(example, Source.RECORDED) as running:
        mesh = running.mesh
        assert isinstance(mesh, Replay)
        state = next(
            number
            for number, state in enumerate(mesh.recording.states, 1)
            if any("kubernetes://shop-tls" in proxy["secrets"] for proxy in state.proxies.values())
        )
        for name in ("shop", "blog"):
            parts = (keys / f"{name}.crt").read_text(), (keys / f"{name}.key").read_text()
            mesh.keep(secret("shop-tls", tls_crt=parts[0], tls_key=parts[1]))
            mesh.move_to(state)
            host = "shop.example.com"
            options = f"--cacert {keys}/{name}.crt --resolve {host}:443:172.18.255.200"
            assert running.shell.run(f"curl -sS {options} https://{host}/") == ["the shop"]


# Where keys never go

# As it is, or in base64 as in a Secret.
KEYS = [b"PRIVATE KEY"]
KEYS += [base64.b64encode(b"-----BEGIN " + kind)[:-4] for kind in (b"PRIVATE", b"RSA ", b"EC ")]
KEY = re.compile(b"|".join(map(re.escape, KEYS)))


@pytest.mark.parametrize("kind", ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"])
def test_a_key_is_found_in_base64_too(kind: str) -> None:
    key = f"-----BEGIN {kind}-----\nabc\n-----END {kind}-----\n".encode()
    assert KEY.search(key)
    assert KEY.search(base64.b64encode(key))
    assert not KEY.search(base64.b64encode(b"-----BEGIN CERTIFICATE-----"))


def test_no_example_and_no_recording_holds_a_key() -> None:
    folders = (EXAMPLES, TEST_EXAMPLES, RECORDINGS)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if KEY.search(path.read_bytes())] == []


def test_what_a_transcript_makes_with_mktemp_ends_with_the_lab(mesh: Playing) -> None:
    (place,) = mesh.shell.run("mktemp -d")
    assert Path(place).parent == mesh.mesh.folder
