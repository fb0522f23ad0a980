#!/usr/bin/env bash
# Writes the archive of a release: the program, its man pages, the completion that kubectl calls, the licence.
# Arguments: the program, its OS-ARCH, and the folder for the archive.
set -euo pipefail
program=$1 platform=$2 out=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/man" "$out"
cp "$program" "$(dirname "$0")/../LICENSE" "$folder/"
"$program" man "$folder/man"
"$program" completions kubectl-plugin >"$folder/kubectl_complete-kubehealer"
chmod +x "$folder/kubectl_complete-kubehealer"
out=$(cd "$out" && pwd)
cd "$folder"
case $platform in
  windows-*) 7z a -bso0 "$out/kubehealer-$platform.zip" ./* ;;
  *) tar -czf "$out/kubehealer-$platform.tar.gz" -- * ;;
esac
