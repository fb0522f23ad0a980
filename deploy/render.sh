#!/usr/bin/env bash
# Renders deploy/kustomize/kubehealer.yaml from the chart, and copies the chart's alerts to where kustomize may read them.
# `deploy/render.sh -` prints the manifests instead.
set -euo pipefail
cd "$(dirname "$0")/.."
helm=${HELM:-helm}
render() {
  echo "# Rendered from charts/kubehealer by deploy/render.sh: change the chart, not this file."
  # What Helm says of itself is not true here, and its test pod is of no use.
  "$helm" template kubehealer charts/kubehealer --namespace kubehealer --skip-tests |
    grep -v -e 'helm.sh/chart:' -e '^# Source:' |
    sed 's|app.kubernetes.io/managed-by: Helm|app.kubernetes.io/managed-by: kustomize|' |
    # One blank line between objects in every version of Helm.
    awk 'NF { print }'
}
if [ "${1:-}" = - ]; then
  render
else
  render >deploy/kustomize/kubehealer.yaml
  cp charts/kubehealer/files/alerts.yaml deploy/prometheus/alerts.yaml
fi
