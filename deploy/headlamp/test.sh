#!/usr/bin/env bash
# Tests the Headlamp plugin: types, lints, tests, build. npm installs Headlamp's SDK for it into node_modules, some 830 MB.
set -euo pipefail
cd "$(dirname "$0")"
command -v npm >/dev/null || { echo "install Node.js 20.19 or 22.13, or newer of these, with npm first: $PWD/test.sh needs it" >&2; exit 1; }
if grep -n '"resolved"' package-lock.json; then
  echo "package-lock.json names a registry: write it anew with the settings of .npmrc" >&2
  exit 1
fi
npm ci --no-audit --no-fund
npm run tsc
npm run lint
npm test
npm run build
