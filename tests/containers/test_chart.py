"""The Helm chart, rendered by Helm itself and held against Kubernetes' own schemas."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.containers.image import ROOT, example_settings

# They are large, and installed by `make chart` alone.
helm = pytest.importorskip("helm_python", reason="`make chart` has not installed Helm")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="`make chart` has not installed it")

CHART = ROOT / "deploy" / "helm" / "scoreline"
KUBERNETES = "1.34"
# Their schemas come with the operator of Prometheus, not with Kubernetes.
OF_PROMETHEUS = {"PodMonitor", "PrometheusRule"}

Values = dict[str, Any]

LEAST: Values = {
    "lineProvider": {"existingSecret": "line-provider", "ownerSecret": "line-provider-owner"},
    "scoreMaker": {"existingSecret": "score-maker", "ownerSecret": "score-maker-owner"},
    "arqWorker": {"existingSecret": "arq-worker"},
}
EVERYTHING: Values = {
    "image": {"registry": "registry.example.org/scoreline", "tag": "1.2.3", "pullSecrets": ["registry"]},
    "lineProvider": {
        **LEAST["lineProvider"],
        "tlsSecret": "line-provider-tls",
        "settings": {"LINE_PROVIDER_HIGH_SCORE_FROM": "3.5"},
    },
    "scoreMaker": {
        **LEAST["scoreMaker"],
        "tlsSecret": "score-maker-tls",
        "autoscaling": {"enabled": True},
        "ingress": {"enabled": True, "host": "rate.example.org", "tlsSecret": "web", "className": "nginx"},
    },
    "arqWorker": {**LEAST["arqWorker"], "tlsSecret": "arq-worker-tls", "autoscaling": {"enabled": True}},
    "monitoring": {"enabled": True, "labels": {"release": "prometheus"}},
    "otlpEndpoint": "http://collector:4317",
}


def rendered(values: Values) -> list[dict[str, Any]]:
    manifests = helm.Chart.load(CHART).render(values, name="live", namespace="default")
    documents = (document for text in manifests.values() for document in yaml.safe_load_all(text))
    return [document for document in documents if document is not None]


def pods(manifests: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for manifest in manifests:
        if manifest["kind"] in {"Deployment", "Job"}:
            yield manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]


@pytest.mark.parametrize("values", [LEAST, EVERYTHING], ids=["least", "everything"])
def test_kubernetes_takes_what_it_makes(values: Values) -> None:
    findings = helm.lint(CHART, values, strict=True)
    assert not [each for each in findings["messages"] if each["severity"] > 1]
    manifests = rendered(values)
    assert len({(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}) == len(manifests)
    for manifest in manifests:
        if manifest["kind"] not in OF_PROMETHEUS:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {**LEAST, "arqWorker": {}},
        {**LEAST, "lineProvider": {"existingSecret": "", "ownerSecret": "x"}},
        {**LEAST, "scoreMakr": {}},
        {**LEAST, "arqWorker": {**LEAST["arqWorker"], "replicas": 0}},
        {**LEAST, "arqWorker": {**LEAST["arqWorker"], "settings": {"ARQ_WORKER_RELAYS": 2}}},
    ],
)
def test_values_that_cannot_be_are_refused_before_anything_is_made(wrong: Values) -> None:
    with pytest.raises(helm.HelmError):
        helm.Chart.load(CHART).validate_schema(wrong)


def test_every_pod_is_confined_and_no_secret_is_in_the_chart() -> None:
    manifests = rendered(EVERYTHING)
    assert "Secret" not in {manifest["kind"] for manifest in manifests}
    for name, pod in pods(manifests):
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_the_rule_for_prometheus_has_the_alerts_of_the_observability_folder() -> None:
    (rule,) = (manifest for manifest in rendered(EVERYTHING) if manifest["kind"] == "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((ROOT / "observability" / "alerts.yaml").read_text())


def test_it_gives_no_setting_that_the_services_do_not_have() -> None:
    for service, prefix in (("line_provider", "LINE_PROVIDER"), ("score_maker", "SCORE_MAKER"), ("arq_worker", "ARQ")):
        example = (ROOT / service / ".env_example").read_text()
        known = {line.lstrip("#").split("=")[0] for line in example.splitlines() if "=" in line}
        assert example_settings(service).keys() <= known
        name = service.replace("_", "-")
        given = {
            variable["name"]
            for pod_name, pod in pods(rendered(EVERYTHING))
            if pod_name.startswith(f"live-{name}")
            for container in pod["containers"]
            for variable in container["env"]
        }
        assert given
        assert {variable for variable in given if variable.startswith(prefix)} <= known
