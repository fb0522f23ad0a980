#!/bin/sh
# Fuzzes one target after the other, so many seconds each: fuzz/run.sh 60 [TARGET...]. Needs cargo-fuzz.
set -eu
cd "$(dirname "$0")/.."
seconds=$1
shift
[ $# -gt 0 ] || set -- pod event node watch rules dump message log image_reference
cargo run --quiet --manifest-path fuzz/Cargo.toml --example seeds
# Without `unsafe` there is nothing for a sanitizer.
cargo fuzz build --sanitizer none
for target; do
  echo "== $target"
  cargo fuzz run --sanitizer none "$target" -- -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=1024
done
