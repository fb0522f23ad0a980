#!/usr/bin/env bash
# From a failing container to the pager: a simulated cluster, `kubehealer watch`, the real Prometheus and Alertmanager with the files
# that users take (charts/kubehealer/files, deploy/prometheus), and a receiver that notes what arrives. And the status page in Chromium, whose
# screenshots are in .cache/page. And `kubehealer mcp`, asked by the protocol's own Python SDK.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/chart/tools.sh
source tests/chart/tools.sh
nice cargo build --quiet --bin kubehealer --example simulated_cluster
# An example's executable lies beside the program's.
KUBEHEALER_BIN=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/debug
export KUBEHEALER_BIN
exec pytest -q -p no:cacheprovider tests/e2e "$@"
