#!/usr/bin/env bash
# Builds the Dockerfile with buildah, without any registry, and runs what comes out.
#
# The two base images are made here. The builder is an empty root into which this machine's /usr and Rust toolchain are mounted
# for the length of the build; the base holds what distroless/static holds: certificates, a passwd, /tmp.
#
# Works as root, and as a user who may map 65,536 ids (then in a user namespace of buildah).
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD

if [ "$(id -u)" != 0 ]; then
  if buildah unshare true 2>/dev/null; then exec buildah unshare "$0" "$@"; fi
  cat >&2 <<'HELP'
FAIL  image: cannot be built by this user. Either run it as root, or once:
        apt-get install buildah uidmap iproute2 binutils
        usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER
HELP
  exit 1
fi
# shellcheck source=tests/chart/tools.sh
source tests/chart/tools.sh

work=$(mktemp -d)
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
b() { buildah --root "$work/storage" --runroot "$work/run" "$@"; }
cleanup() {
  b umount --all >/dev/null 2>&1 || true
  rm -rf "$work" || true
}
trap cleanup EXIT

cargo_home=${CARGO_HOME:-$HOME/.cargo}
rustup_home=${RUSTUP_HOME:-$HOME/.rustup}
rust_bin=$(dirname "$(rustup which rustc 2>/dev/null || command -v rustc)")
# Kept between runs, so that a second one is short.
target=$root/.cache/image-target
mkdir -p "$target"

echo "making the base images"
builder=$(b from scratch)
mount=$(b mount "$builder")
mkdir -p "$mount"/{usr,etc,tmp,proc,dev,sys,root,cargo,rustup,target}
chmod 1777 "$mount/tmp"
for link in bin lib lib64 sbin; do ln -s "usr/$link" "$mount/$link"; done
cp -a /etc/ld.so.cache /etc/ld.so.conf /etc/ld.so.conf.d /etc/alternatives /etc/passwd /etc/group /etc/ssl "$mount/etc/"
b umount "$builder" >/dev/null
b config --env "PATH=$rust_bin:/usr/bin:/bin" --env CARGO_HOME=/cargo --env "RUSTUP_HOME=$rustup_home" --env CARGO_TARGET_DIR=/target \
  --env HOME=/root "$builder"
b commit -q "$builder" localhost/builder:1 >/dev/null

base=$(b from scratch)
mount=$(b mount "$base")
mkdir -p "$mount"/{etc/ssl/certs,tmp,home/nonroot}
chmod 1777 "$mount/tmp"
cp -L /etc/ssl/certs/ca-certificates.crt "$mount/etc/ssl/certs/"
echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$mount/etc/passwd"
b umount "$base" >/dev/null
b commit -q "$base" localhost/base:1 >/dev/null

echo "building"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
start=$SECONDS
buildah --root "$work/storage" --runroot "$work/run" bud -q --network host --pull-never --build-arg PROFILE=release \
  --build-arg BUILDER=localhost/builder:1 --build-arg BASE=localhost/base:1 \
  --build-arg "VERSION=$version" --build-arg REVISION=test \
  -v /usr:/usr:ro -v "$cargo_home:/cargo" -v "$rustup_home:$rustup_home:ro" -v "$target:/target" \
  -f Dockerfile -t localhost/kubehealer:test . >"$work/build.log" 2>&1 || { tail -40 "$work/build.log"; exit 1; }
echo "built in $((SECONDS - start)) s"

fail() { echo "FAIL  $*"; exit 1; }
ok() { echo "ok    $*"; }

b inspect --type image localhost/kubehealer:test >"$work/inspect.json"
python3 - "$work/inspect.json" "$version" <<'PY' || fail "the image's settings"
import json, sys
config = json.load(open(sys.argv[1]))["OCIv1"]["config"]
assert config["User"] == "65532:65532", config["User"]
assert config["Entrypoint"] == ["/kubehealer"] and not config.get("Cmd"), config
assert list(config["ExposedPorts"]) == ["8080"] or "8080/tcp" in config["ExposedPorts"], config["ExposedPorts"]
labels = config["Labels"]
for name in ("title", "description", "licenses", "source", "documentation", "vendor"):
    assert labels["org.opencontainers.image." + name]
assert labels["org.opencontainers.image.version"] == sys.argv[2]
assert labels["org.opencontainers.image.base.name"] == "localhost/base:1"
PY
ok "user, entrypoint, port and labels"

container=$(b from --pull-never localhost/kubehealer:test)
mount=$(b mount "$container")
binary=$mount/kubehealer
[ ! -e "$mount/bin" ] && [ ! -e "$mount/lib" ] && [ ! -e "$mount/usr" ] || fail "there is more in the image than the program"
if readelf -l "$binary" | grep -q INTERP; then fail "the program is not static"; fi
ok "one static program, no shell, no library"

in_image() { chroot --userspec=65532:65532 "$mount" /kubehealer "$@"; }
[ "$(in_image --version)" = "kubehealer $version" ] || fail "--version: $(in_image --version)"
in_image watch --help | grep -q -- --listen || fail "watch --help"
in_image explain OOMKilled | grep -q OOMKilled || fail "explain"
ok "runs as 65532 in an empty root"

bash tests/image/names.sh "$mount" || fail "names"

size=$(stat -c %s "$binary")
printf 'ok    size: program %.1f MB, compressed %.1f MB\n' "$(awk "BEGIN { print $size / 1000000 }")" \
  "$(gzip -9 -c "$binary" | wc -c | awk '{print $1/1000000}')"
# A dependency that doubles it should be noticed.
[ "$size" -lt 36000000 ] || fail "the program has grown to $size bytes"
