"""What a proxy is told in istiod's place: xDS, certificates out of Secrets, and subscriptions."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import pytest
from conftest import eventually
from lab.files.manifests import Object
from lab.objects.pod import Pod
from lab.proxy import xds
from lab.proxy.certificates import Authority
from lab.proxy.credentials import filled
from lab.proxy.discovery import Discovery
from lab.proxy.discovery import Key as Subscribed

# xDS

GATEWAY_POD = Pod({"spec": {"containers": []}, "status": {"podIP": "10.244.0.11"}})


def served(**resources: Any) -> dict[Subscribed, str]:
    """What a proxy on 10.244.0.11 is served."""
    kinds = ("listeners", "routes", "clusters", "endpoints", "secrets")
    everything = {kind: [] for kind in kinds} | resources
    return xds.responses(everything, [{"name": "ROOTCA"}], GATEWAY_POD)


def resources_in(response: str) -> Any:
    return json.loads(response)["resources"]


def test_each_route_configuration_endpoints_and_secret_is_served_by_its_name() -> None:
    responses = served(
        routes=[{"name": "http.8080"}, {"name": "https.8443"}],
        endpoints=[{"clusterName": "outbound|80||shop"}, {"clusterName": "outbound|81||shop"}],
        clusters=[{"name": "a"}, {"name": "b"}],
    )
    assert {key: len(resources_in(content)) for key, content in responses.items()} == {
        ("clusters", ""): 2,
        ("listeners", ""): 0,
        ("endpoints", "outbound|80||shop"): 1,
        ("endpoints", "outbound|81||shop"): 1,
        ("routes", "http.8080"): 1,
        ("routes", "https.8443"): 1,
        ("secrets", "ROOTCA"): 1,
    }


def test_a_listener_on_all_addresses_listens_on_its_pods_alone() -> None:
    def listener(address: str) -> Object:
        socket = {"address": address, "portValue": 8080}
        return {"name": address, "address": {"socketAddress": socket}}

    listeners = [listener("0.0.0.0"), listener("10.244.0.99")]  # noqa: S104
    fitted = resources_in(served(listeners=listeners)["listeners", ""])
    addresses = [item["address"]["socketAddress"]["address"] for item in fitted]
    assert addresses == ["10.244.0.11", "10.244.0.99"]


def test_what_a_proxy_would_fetch_from_istiod_it_fetches_from_the_lab() -> None:
    ads: dict[str, Any] = {"ads": {}}
    rds = {"routeConfigName": "http.8080", "configSource": ads}
    tls = {"tlsCertificateSdsSecretConfigs": [{"name": "default", "sdsConfig": ads}]}
    listener = {
        "name": "0.0.0.0_8080",
        "address": {"socketAddress": {}},
        "filterChains": [{"filters": [{"typedConfig": {"rds": rds}}], "transportSocket": tls}],
    }
    cluster = {"name": "c", "type": "EDS", "edsClusterConfig": {"edsConfig": ads}}
    text = "".join(served(listeners=[listener], clusters=[cluster]).values())
    assert '"ads"' not in text
    assert text.count(xds.CLUSTER) == 3


def test_what_stays_the_same_is_fetched_once() -> None:
    one, two = {"clusterName": "one"}, {"clusterName": "two"}
    states: list[dict[str, list[Any]]] = [
        {"endpoints": [one, two]},
        {"endpoints": [one, dict(two)]},
        {"endpoints": []},
    ]
    lasting = xds.lasting_keys(states)
    assert lasting == {("endpoints", "one")}
    ads: dict[str, Any] = {"ads": {}}
    clusters = [
        {"name": name, "type": "EDS", "edsClusterConfig": {"edsConfig": ads}}
        for name in ("one", "two")
    ]
    empty: dict[str, list[Any]] = {"routes": [], "listeners": [], "secrets": []}
    given = xds.responses(
        empty | {"clusters": clusters} | states[0], [], GATEWAY_POD, lasting=lasting
    )
    fitted = resources_in(given["clusters", ""])
    sources = [cluster["edsClusterConfig"]["edsConfig"] for cluster in fitted]
    assert sources == [xds.LASTING, xds.SOURCE]


@pytest.mark.parametrize(
    ("annotations", "seconds"),
    [
        ({}, 45),
        ({"proxy.istio.io/config": "concurrency: 1"}, 45),
        ({"proxy.istio.io/config": "concurrency: 1\ndrainDuration: 2s"}, 2),
    ],
)
def test_a_proxy_drains_for_as_long_as_its_pod_says(
    annotations: dict[str, str], seconds: int
) -> None:
    assert Pod({"metadata": {"annotations": annotations}}).drain_seconds == seconds


def test_a_proxy_asks_no_dns_server_but_that_of_its_bootstrap() -> None:
    resolver = {"name": "envoy.network.dns_resolver.cares", "typedConfig": {}}
    cluster = {"name": "c", "type": "STRICT_DNS", "typedDnsResolverConfig": resolver}
    (cluster,) = resources_in(served(clusters=[cluster])["clusters", ""])
    assert (cluster["type"], "typedDnsResolverConfig" in cluster) == ("STRICT_DNS", False)


def test_the_version_of_a_response_follows_from_its_content() -> None:
    def version(name: str) -> Any:
        return json.loads(served(clusters=[{"name": name}])["clusters", ""])["version_info"]

    assert version("a") == version("a") != version("b")


def pod(address: str, **spec: Any) -> Object:
    metadata: dict[str, Any] = {"name": "pot-1", "namespace": "tea", "annotations": {}}
    metadata["labels"] = {"app": "pot"}
    metadata["ownerReferences"] = [{"name": "pot-1"}]
    spec = {"containers": [{"name": "pot", "image": "python:3.13"}]} | spec
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"podIP": address}}


def test_a_sidecar_listens_on_the_ports_of_its_pod_and_passes_on_to_the_application() -> None:
    item = pod("10.244.0.10", containers=[{"name": "a", "ports": [{"containerPort": 9090}]}])
    item["spec"]["initContainers"] = [{"image": "istio/proxyv2:1", "name": "istio-proxy"}]
    item["spec"]["containers"][0]["image"] = "python:3.13"
    chains: list[Any] = [
        {"filters": [{"name": "tcp"}], "filterChainMatch": {"destinationPort": port}}
        for port in (15006, 8080)
    ]
    listeners = [
        {
            "name": name,
            "address": {"socketAddress": {"address": "0.0.0.0", "portValue": port}},  # noqa: S104
            "bindToPort": bind,
            "listenerFilters": [{"name": "envoy.filters.listener.original_dst"}],
            "filterChains": chains,
        }
        for name, port, bind in (
            ("virtualInbound", 15006, True),
            ("virtualOutbound", 15001, True),
            ("0.0.0.0_80", 80, False),
        )
    ]
    kinds = ("routes", "clusters", "endpoints", "secrets")
    everything = {"listeners": listeners} | {kind: [] for kind in kinds}
    text = xds.responses(everything, [], Pod(item))["listeners", ""]
    inbound, outbound, http = resources_in(text)
    assert inbound["address"]["socketAddress"]["address"] == "10.244.0.10"
    ports = [a["address"]["socketAddress"]["portValue"] for a in inbound["additionalAddresses"]]
    assert ports == [8080, 9090]
    assert inbound["listenerFilters"] == []
    assert "10.52.0.10:%DOWNSTREAM_LOCAL_PORT%" in str(inbound["filterChains"][0]["filters"][0])
    assert outbound["listenerFilters"][0]["name"] == "envoy.filters.listener.proxy_protocol"
    assert http["address"]["socketAddress"]["address"] == "0.0.0.0"  # noqa: S104


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


def test_a_proxy_is_served_each_secret_and_nothing_for_a_missing_one() -> None:
    names = ["kubernetes://shop", "kubernetes-gateway://blog/blog", "default"]
    configs = [{"name": name, "sdsConfig": {"ads": {}}} for name in names]
    listener = {"name": "0.0.0.0_8443", "address": {"socketAddress": {}}, "tls": configs}
    empty: dict[str, Any] = {"routes": [], "clusters": [], "endpoints": []}
    resources = empty | {"listeners": [listener], "secrets": [{"name": "kubernetes://shop"}]}
    pod = Pod({"spec": {"containers": []}, "status": {"podIP": "10.244.0.11"}})
    served = xds.responses(resources, [{"name": "default"}], pod)
    given = {key[1]: resources_in(text) for key, text in served.items() if key[0] == "secrets"}
    assert {name: len(found) for name, found in given.items()} == dict(
        zip(names, (1, 0, 1), strict=True)
    )
    (fitted,) = resources_in(served["listeners", ""])
    assert [config["sdsConfig"] for config in fitted["tls"]] == [xds.SOURCE] * 3


def test_a_proxy_trusts_its_mesh_and_asks_for_public_authorities_by_a_name_of_their_own() -> None:
    identity, *roots = Authority().secrets("shop", "app")
    assert identity["name"] == "default"
    assert "tlsCertificate" in identity
    assert [one["name"] for one in roots] == ["ROOTCA", "file-root:system"]
    assert all("BEGIN CERTIFICATE" in decoded_root(one) for one in roots)


@pytest.mark.parametrize("asked", [True, False])
def test_a_proxy_is_served_public_authorities_only_while_it_asks_for_them(asked: bool) -> None:
    name = "file-root:system"
    tls = {"sds": {"name": name, "sdsConfig": {"ads": {}}}} if asked else {}
    empty: dict[str, Any] = {"routes": [], "listeners": [], "endpoints": [], "secrets": []}
    resources = empty | {"clusters": [{"name": "outside", "tls": tls}]}
    assert (("secrets", name) in xds.responses(resources, [{"name": name}], GATEWAY_POD)) == asked


def decoded_root(secret: dict[str, Any]) -> str:
    trusted = secret["validationContext"]["trustedCa"]["inlineBytes"]
    return base64.b64decode(trusted).decode()


# Subscriptions


@pytest.fixture
def discovery(tmp_path: Path) -> Iterator[Discovery]:
    made = Discovery(tmp_path)
    yield made
    made.close()


CLUSTERS, ROUTE = ("clusters", ""), ("routes", "http.8080")


def test_a_subscription_waits_for_what_is_not_there_yet(discovery: Discovery) -> None:
    answers: list[str | None] = []
    asking = Thread(target=lambda: answers.append(discovery.await_news(ROUTE, "")))
    asking.start()
    discovery.publish({CLUSTERS: "one"})
    assert answers == []
    discovery.publish({CLUSTERS: "one", ROUTE: "here"})
    asking.join()
    assert answers == ["here"]


class Interrupted(Condition):
    """A condition with a Ctrl-C just after it was taken for the first time."""

    calm = False

    def __enter__(self) -> bool:
        taken = super().__enter__()
        if not self.calm:
            self.calm = True
            signal.raise_signal(signal.SIGINT)
        return taken


@pytest.mark.parametrize(
    "call",
    [lambda discovery: discovery.publish({}), Discovery.is_taken, Discovery.close],
    ids=["publish", "is_taken", "close"],
)
def test_ctrl_c_leaves_no_lock_taken(tmp_path: Path, call: Callable[[Discovery], object]) -> None:
    changed = Interrupted()
    discovery = Discovery(tmp_path, _changed=changed)
    with pytest.raises(KeyboardInterrupt):
        call(discovery)
    free: list[bool] = []

    def take() -> None:
        free.append(changed.acquire(timeout=5))
        changed.release()

    other = Thread(target=take)
    other.start()
    other.join()
    assert free == [True]
    discovery.close()


def test_what_is_served_is_taken_once_the_proxy_asks_for_more(tmp_path: Path) -> None:
    listeners, lasting = ("listeners", ""), ("endpoints", "outbound|80||shop")
    discovery = Discovery(tmp_path, {lasting})
    discovery.publish({CLUSTERS: "one", listeners: "one", ROUTE: "one", lasting: "one"})
    for key in (CLUSTERS, listeners, lasting, ROUTE):
        assert not discovery.is_taken()
        assert discovery.await_news(key, "") == "one"
    answers: list[str | None] = []

    def ask(key: Subscribed) -> Thread:
        asking = Thread(target=lambda: answers.append(discovery.await_news(key, "1")))
        asking.start()
        return asking

    asking = [ask(CLUSTERS), ask(listeners)]
    assert not eventually(discovery.is_taken, 0.1)
    route = ask(ROUTE)
    assert eventually(discovery.is_taken)
    discovery.publish({CLUSTERS: "one", listeners: "one", ROUTE: "two", lasting: "one"})
    route.join()
    assert not discovery.is_taken()
    # Its subscription is gone, and with it the route.
    discovery.publish({CLUSTERS: "one", listeners: "one", lasting: "one"})
    assert discovery.is_taken()
    discovery.close()
    for thread in asking:
        thread.join()
    assert answers == ["two", None, None]


def test_what_was_sent_is_not_sent_again_even_if_it_was_rejected(discovery: Discovery) -> None:
    discovery.publish({CLUSTERS: "bad"})
    assert discovery.await_news(CLUSTERS, "") == "bad"
    answers: list[str | None] = []
    asking = Thread(target=lambda: answers.append(discovery.await_news(CLUSTERS, "")))
    asking.start()
    discovery.publish({CLUSTERS: "good"})
    asking.join()
    assert answers == ["good"]


def test_a_new_subscription_gets_what_an_older_one_had(discovery: Discovery) -> None:
    discovery.publish({ROUTE: "here"})
    assert discovery.await_news(ROUTE, "") == discovery.await_news(ROUTE, "") == "here"


def test_routes_that_no_proxy_takes_are_sent_a_few_times_only(discovery: Discovery) -> None:
    discovery.publish({ROUTE: "bad"})
    for _ in range(3):
        assert discovery.await_news(ROUTE, "") == "bad"
    answers: list[str | None] = []
    asking = Thread(target=lambda: answers.append(discovery.await_news(ROUTE, "")))
    asking.start()
    discovery.publish({CLUSTERS: "one", ROUTE: "bad"})
    assert answers == []
    discovery.publish({ROUTE: "good"})
    asking.join()
    assert answers == ["good"]


def test_what_lasts_or_was_taken_is_sent_as_often_as_a_subscription_begins(tmp_path: Path) -> None:
    lasting = ("endpoints", "outbound|80||shop")
    discovery = Discovery(tmp_path, {lasting})
    discovery.publish({ROUTE: "here", lasting: "here"})
    assert [discovery.await_news(lasting, "") for _ in range(5)] == ["here"] * 5
    assert [discovery.await_news(ROUTE, "") for _ in range(3)] == ["here"] * 3
    has_taken = Thread(target=lambda: discovery.await_news(ROUTE, "1"))
    has_taken.start()
    assert discovery.await_news(ROUTE, "") == "here"
    discovery.close()
    has_taken.join()


def test_a_subscription_that_is_gone_leaves_the_news_to_the_one_in_its_place(
    discovery: Discovery,
) -> None:
    discovery.publish({ROUTE: "one"})
    assert discovery.await_news(ROUTE, "") == "one"
    answers: list[str | None] = []
    gone = Thread(target=lambda: answers.append(discovery.await_news(ROUTE, "1", lambda: True)))
    gone.start()
    discovery.publish({ROUTE: "two"})
    gone.join()
    assert answers == [None]
    assert discovery.await_news(ROUTE, "1") == "two"


def test_a_subscription_ends_with_its_server(discovery: Discovery) -> None:
    answers: list[str | None] = ["none yet"]
    asking = Thread(target=lambda: answers.append(discovery.await_news(ROUTE, "")))
    asking.start()
    discovery.close()
    asking.join()
    assert answers == ["none yet", None]
