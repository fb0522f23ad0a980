#!/usr/bin/env bash
# Prints the krew manifest for a release. Arguments: the version, and the folder with kubectl-kubehealer-OS-ARCH.tar.gz.
set -euo pipefail
version=$1 archives=$2
manifest=$(sed "s/@VERSION@/$version/g" "$(dirname "$0")/kubehealer.yaml")
for platform in linux-amd64 linux-arm64 darwin-amd64 darwin-arm64; do
  sum=$(sha256sum "$archives/kubectl-kubehealer-$platform.tar.gz" | cut -d' ' -f1)
  manifest=${manifest//@SHA256-$platform@/$sum}
done
if grep -q '@' <<<"$manifest"; then
  echo "something is not filled in:" >&2
  grep -n '@' <<<"$manifest" >&2
  exit 1
fi
printf '%s\n' "$manifest"
