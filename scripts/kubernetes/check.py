"""Checks rendered manifests: against the schemas of the API, and against what the services need.

usage: check.py ENV_TEMPLATE RENDERED...
"""

import importlib
import re
import sys

import kubernetes_validate
import yaml

VERSION = "1.37"
# Kinds that extend the API, by their models.
EXTENSIONS = {
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
}
WORKLOADS = ("Deployment", "StatefulSet", "Job")


def schema_faults(doc):
    """What a document has that its schema does not know, or lacks."""
    model = EXTENSIONS.get(doc["apiVersion"])
    try:
        if model is None:
            kubernetes_validate.validate(doc, VERSION, strict=True)
            return
        read = getattr(importlib.import_module(model), doc["kind"]).model_validate(doc)
        written = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
        if written != doc:
            yield f"the schema knows no such fields: {written} is left of {doc}"
    except Exception as e:
        yield f"{type(e).__name__}: {str(e).splitlines()[0]}"


def pod_faults(doc):
    """What every pod must say."""
    pod = doc["spec"]["template"]["spec"]
    if pod.get("automountServiceAccountToken") is not False:
        yield "the token of the service account is mounted"
    if pod.get("securityContext", {}).get("runAsNonRoot") is not True:
        yield "may run as root"
    for container in pod["containers"]:
        context = container.get("securityContext", {})
        if context.get("capabilities") != {"drop": ["ALL"]} or context.get("allowPrivilegeEscalation") is not False:
            yield "keeps rights"
        if "memory" not in container.get("resources", {}).get("limits", {}):
            yield "has no limit of memory"
        if ":" not in container["image"]:
            yield f"image {container['image']} has no tag"
        if doc["kind"] != "StatefulSet" and context.get("readOnlyRootFilesystem") is not True:
            yield "may write its file system"
        if doc["kind"] == "Deployment":
            for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
                if container.get(probe, {}).get("httpGet", {}).get("path") != path:
                    yield f"{probe} does not ask {path}"
    if doc["kind"] == "Deployment" and pod.get("terminationGracePeriodSeconds", 0) < 15:
        yield "is not given 15 s to drain"


def reference_faults(docs, variables):
    """Selectors, targets and settings that mean nothing."""
    pods = [d["spec"]["template"]["metadata"]["labels"] for d in docs if d["kind"] in WORKLOADS]
    named = {(d["kind"], d["metadata"]["name"]) for d in docs}
    for doc in docs:
        spec, who = doc.get("spec", {}), f"{doc['kind']}/{doc['metadata']['name']}"
        selector = spec.get("podSelector", spec.get("selector", {})) if doc["kind"] != "ServiceMonitor" else {}
        labels = selector if doc["kind"] == "Service" else selector.get("matchLabels", {})
        if not any(labels.items() <= pod.items() for pod in pods):
            yield f"{who} selects no pod: {labels}"
        if doc["kind"] == "ScaledObject" and ("Deployment", spec["scaleTargetRef"]["name"]) not in named:
            yield f"{who} scales nothing"
        if doc["kind"] in ("ConfigMap", "Secret"):
            unknown = set(doc["data"]) - variables
            if unknown:
                yield f"{who} sets what nobody reads: {unknown}"
        if doc["kind"] in WORKLOADS:
            for container in spec["template"]["spec"]["containers"]:
                for source in container.get("envFrom", []):
                    config = source.get("configMapRef", {}).get("name")
                    if config and ("ConfigMap", config) not in named:
                        yield f"{who} reads a ConfigMap that is not there: {config}"


def main(template, *rendered):
    variables = set(re.findall(r"^(?:# )?([A-Z][A-Z_]*)=", open(template).read(), re.M))
    passed, faults = 0, []
    for path in rendered:
        docs = [doc for doc in yaml.safe_load_all(open(path)) if doc]
        for doc in docs:
            found = [*schema_faults(doc), *(pod_faults(doc) if doc["kind"] in WORKLOADS else ())]
            faults += [f"{path}: {doc['kind']}/{doc['metadata']['name']}: {fault}" for fault in found]
            passed += not found
        faults += [f"{path}: {fault}" for fault in reference_faults(docs, variables)]
    print("\n".join(faults) + "\n" if faults else "", end="")
    print(f"{passed} passed, {len(faults)} failed")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
