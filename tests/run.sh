#!/usr/bin/env bash
# All the tests. Installs what they need into .cache/ and through the package manager; nothing is skipped for want of a tool.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

started=$SECONDS
failed=()
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

step() { # name, command...
  local name=$1 from=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  if "$@"; then
    printf '== %s: ok, %ds\n' "$name" $((SECONDS - from))
  else
    printf '== %s: FAILED after %ds\n' "$name" $((SECONDS - from))
    failed+=("$name")
  fi
}

# The chart needs no compiler, and mostly waits for downloads: it runs beside the build.
tests/chart/run.sh >"$logs/chart" 2>&1 &
chart=$!
chart_result() {
  local code=0
  wait "$chart" || code=$?
  cat "$logs/chart"
  return "$code"
}

step "format" cargo fmt --check
step "lints" cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
step "program" cargo test --locked --workspace --quiet
step "chart, alerts, manifests, workflows" chart_result
for suite in tests/e2e/run.sh tests/image/run.sh; do
  step "$suite" "$suite"
done

if [ ${#failed[@]} -gt 0 ]; then
  printf '\nFAILED: %s\n' "${failed[*]}"
  exit 1
fi
printf '\nAll tests passed in %ds.\n' $((SECONDS - started))
