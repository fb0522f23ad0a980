//! The tests from the outside: one binary, a module per subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod accuracy;
mod agree;
mod api;
mod cli;
mod commands;
mod connection;
mod contract;
mod daemon;
mod decode;
mod demo;
mod diagnosis;
mod dumps;
mod faults;
mod field;
mod files;
#[path = "../../benches/table/fleet.rs"]
mod fleet;
mod fuzz;
mod generated;
mod incidents;
mod layers;
mod live;
mod mcp;
mod metrics;
mod objects;
mod owners;
mod page;
mod reasons;
mod redaction;
mod replay;
mod report;
mod rules;
mod runbooks;
#[path = "support/secrets.rs"]
mod samples;
mod says;
mod secrets;
mod server;
mod shell;
mod simulator;
mod steady;
mod wait;
mod watch;
mod words;
