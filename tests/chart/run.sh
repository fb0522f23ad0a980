#!/usr/bin/env bash
# Tests of chart, alert rules, examples, workflows, scripts and spelling, with the real tools. Installs what it needs (tools.sh).
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/chart/tools.sh

status=0
check() { # name, command...
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then echo "ok    $name"; else
    printf 'FAIL  %s\n%s\n' "$name" "$output"
    status=1
  fi
}
mapfile -t scripts < <(git ls-files '*.sh' '.ci/run')
mapfile -t yamls < <(git ls-files '*.yaml' '*.yml' | grep -Ev '^charts/kubehealer/templates/|^tests/data/')
check "shellcheck" shellcheck -x --source-path=SCRIPTDIR "${scripts[@]}"
check "typos" typos --force-exclude
check "yamllint" yamllint --strict -c tests/chart/yamllint.yaml "${yamls[@]}"
check "promtool check rules" promtool check rules charts/kubehealer/files/alerts.yaml
[ ! -f Dockerfile ] || check "hadolint" hadolint --no-color -t info Dockerfile
if [ -d .github/workflows ]; then
  check "workflows" check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yaml
  check "dependabot" check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yaml
fi
# The two cores are shared with nothing else in a test run.
nice pytest -q -p no:cacheprovider -n "$(nproc)" tests/chart || status=1
exit $status
