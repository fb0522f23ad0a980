# `just` lists the commands.

_default:
    @just --list

# A simulated cluster with real failures, watched.
demo:
    cargo run --release -- demo

# The analyzer's own tests.
core:
    cargo test -p kubehealer-core

# Tests from the outside in, by area: `just it reasons::`
it filter="":
    cargo test --test it {{filter}}

# What is written from the rows of the reasons and causes.
generate:
    UPDATE_GENERATED=1 cargo test --test it generated::

lint:
    cargo fmt --check
    cargo clippy --locked --workspace --all-targets -- -D warnings

# Licences, bans and sources of the dependencies.
deny:
    cargo deny check

# Everything that CI runs.
test:
    tests/run.sh

# What it costs, beside a usual reflector.
bench:
    cargo bench --bench table
