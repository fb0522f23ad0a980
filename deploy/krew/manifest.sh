#!/usr/bin/env bash
# Prints the krew manifest for a release. Arguments: the version, and the folder with the archives of all platforms.
set -euo pipefail
version=$1 archives=$2
manifest=$(sed "s/@VERSION@/$version/g" "$(dirname "$0")/kubehealer.yaml")
for archive in linux-amd64.tar.gz linux-arm64.tar.gz darwin-amd64.tar.gz darwin-arm64.tar.gz windows-amd64.zip; do
  sum=$(sha256sum "$archives/kubehealer-$archive" | cut -d' ' -f1)
  manifest=${manifest//@SHA256-${archive%%.*}@/$sum}
done
if grep -q '@' <<<"$manifest"; then
  echo "something is not filled in:" >&2
  grep -n '@' <<<"$manifest" >&2
  exit 1
fi
printf '%s\n' "$manifest"
