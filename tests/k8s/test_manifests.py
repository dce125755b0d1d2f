"""The manifests: they build, Kubernetes would accept them, and their parts agree with each other and with the code."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest

from splitinfer.cloud.settings import ServeSettings
from tests.k8s.kustomize import ROOT, documents, rayservice, serve_config

BUILDS = ["base", "overlays/dev"]

# KubeRay's own fields that we use, by where they stand (ray.io/v1). What is inside a pod template is checked as a Pod.
KUBERAY_FIELDS = {
    "spec": {"excludeHeadPodFromServeSvc", "serveConfigV2", "rayClusterConfig"},
    "rayClusterConfig": {"rayVersion", "headGroupSpec", "workerGroupSpecs"},
    "headGroupSpec": {"rayStartParams", "template"},
    "workerGroupSpecs": {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"},
}


def args(build: str) -> dict[str, Any]:
    return serve_config(build)["applications"][0]["args"]


def cluster(build: str) -> dict[str, Any]:
    return rayservice(build)["spec"]["rayClusterConfig"]


def templates(build: str) -> dict[str, dict[str, Any]]:
    groups = {g["groupName"]: g["template"] for g in cluster(build)["workerGroupSpecs"]}
    return {"head": cluster(build)["headGroupSpec"]["template"], **groups}


def container(build: str, which: str) -> dict[str, Any]:
    (only,) = templates(build)[which]["spec"]["containers"]
    return only


@pytest.mark.parametrize("build", BUILDS)
def test_kubernetes_accepts_the_core_kinds(build: str) -> None:
    kinds = set()
    for document in documents(build):
        if document["kind"] != "RayService":
            kubernetes_validate.validate(document, "1.33", strict=True)
            kinds.add(document["kind"])
    assert {"NetworkPolicy", "PodDisruptionBudget"} <= kinds


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("which", ["head", "tails"])
def test_each_pod_template_is_a_valid_pod(build: str, which: str) -> None:
    template = templates(build)[which]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", **template["metadata"]}, "spec": template["spec"]}
    kubernetes_validate.validate(pod, "1.33", strict=True)


@pytest.mark.parametrize("build", BUILDS)
def test_only_fields_that_kuberay_knows(build: str) -> None:
    service = rayservice(build)
    assert service["apiVersion"] == "ray.io/v1"
    assert set(service["spec"]) == KUBERAY_FIELDS["spec"]
    assert set(cluster(build)) == KUBERAY_FIELDS["rayClusterConfig"]
    assert set(cluster(build)["headGroupSpec"]) == KUBERAY_FIELDS["headGroupSpec"]
    for group in cluster(build)["workerGroupSpecs"]:
        assert set(group) == KUBERAY_FIELDS["workerGroupSpecs"]
        params = [*group["rayStartParams"].values(), *cluster(build)["headGroupSpec"]["rayStartParams"].values()]
        assert all(isinstance(value, str) for value in params)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("which", ["head", "tails"])
def test_containers_are_not_root_and_cannot_write_their_image(build: str, which: str) -> None:
    pod = templates(build)[which]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    security = container(build, which)["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"]["drop"] == ["ALL"]


@pytest.mark.parametrize("build", BUILDS)
def test_the_ray_in_the_manifest_is_the_ray_in_the_image(build: str) -> None:
    pinned = (line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("ray=="))
    assert cluster(build)["rayVersion"] == next(pinned).removeprefix("ray==")


@pytest.mark.parametrize("build", BUILDS)
def test_the_port_is_the_same_everywhere(build: str) -> None:
    port = int(args(build)["listen"].rpartition(":")[2])
    for which in ("head", "tails"):  # KubeRay takes the Service's ports from the head
        assert {"name": "serve-grpc", "containerPort": port} in container(build, which)["ports"]
    assert {"name": "tail-metrics", "containerPort": args(build)["metrics_port"]} in container(build, "tails")["ports"]


@pytest.mark.parametrize("build", BUILDS)
def test_readiness_asks_our_server_where_it_answers_in_plaintext(build: str) -> None:
    port = args(build)["health_port"]
    probe = container(build, "tails")["readinessProbe"]
    assert probe["grpc"] == {"port": port}  # as a whole: it is the health of the service ""
    assert {"name": "tail-health", "containerPort": port} in container(build, "tails")["ports"]


@pytest.mark.parametrize("build", BUILDS)
def test_only_the_kubelet_reaches_the_health_port(build: str) -> None:
    ports = [p["name"] for p in container(build, "head")["ports"]]
    assert "tail-health" not in ports  # else KubeRay might publish it
    policies = [d["spec"] for d in documents(build) if d["kind"] == "NetworkPolicy"]
    opened = {port["port"] for policy in policies for rule in policy["ingress"] for port in rule.get("ports", ())}
    assert opened == {"serve-grpc", "tail-metrics", 8265}


@pytest.mark.parametrize("build", BUILDS)
def test_each_file_that_the_server_reads_is_mounted(build: str) -> None:
    given = args(build)
    paths = [*given["bundles"], *(given[key] for key in ("tls_cert", "tls_key", "client_ca", "token_file") if key in given)]
    mounts = container(build, "tails")["volumeMounts"]
    volumes = {v["name"] for v in templates(build)["tails"]["spec"]["volumes"]}
    assert {m["name"] for m in mounts} == volumes
    for path in paths:
        assert any(path.startswith(m["mountPath"] + "/") for m in mounts), path


@pytest.mark.parametrize("build", BUILDS)
def test_a_pod_lives_longer_than_its_drain(build: str) -> None:
    pod = templates(build)["tails"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > args(build)["drain_s"] + 15


@pytest.mark.parametrize("build", BUILDS)
def test_one_replica_a_pod(build: str) -> None:
    (group,) = cluster(build)["workerGroupSpecs"]
    (deployment,) = serve_config(build)["applications"][0]["deployments"]
    assert deployment["max_replicas_per_node"] == 1
    assert group["replicas"] >= args(build)["replicas"]
    assert cluster(build)["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


@pytest.mark.parametrize("build", BUILDS)
def test_policies_select_the_pods_they_are_about(build: str) -> None:
    labels = {which: t["metadata"]["labels"].items() for which, t in templates(build).items()}
    budget = next(d for d in documents(build) if d["kind"] == "PodDisruptionBudget")
    tails = budget["spec"]["selector"]["matchLabels"].items()
    assert tails <= labels["tails"]
    assert not tails <= labels["head"]
    policies = {d["metadata"]["name"]: d["spec"] for d in documents(build) if d["kind"] == "NetworkPolicy"}
    opened = policies["splitinfer-tails"]["podSelector"]["matchLabels"].items()
    assert opened <= labels["tails"]
    assert not opened <= labels["head"]
    assert all(policies["splitinfer-ray"]["podSelector"]["matchLabels"].items() <= each for each in labels.values())


@pytest.mark.parametrize("build", BUILDS)
def test_the_server_takes_these_settings(build: str) -> None:
    settings = ServeSettings.of(args(build))
    assert settings.listen.startswith("0.0.0.0:")


def test_plaintext_is_for_the_desk_only() -> None:
    assert not args("base").get("insecure")
    assert args("base")["token_file"]
    assert args("overlays/dev")["insecure"]


@pytest.mark.parametrize("build", BUILDS)
def test_ray_asks_for_a_token(build: str) -> None:
    for which in ("head", "tails"):
        env = {e["name"]: e for e in container(build, which)["env"]}
        assert env["RAY_AUTH_MODE"]["value"] == "token"
        assert "secretKeyRef" in env["RAY_AUTH_TOKEN"]["valueFrom"]
