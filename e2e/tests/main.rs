//! The fleet end to end: four real binaries, real servers, compared with the model.
//!
//! Every test has a fleet of its own; at most two run at once. Build the binaries first:
//! `cargo build --workspace --bins`.

mod added_partitions;
mod bad_input;
mod callers;
mod chaos;
mod clicks;
mod compose;
mod crash;
mod dashboard;
mod dead_letters;
mod dlq;
mod duplicates;
mod golden;
mod guard;
mod health;
mod ingest;
mod metrics;
mod observability;
mod openapi;
mod orders;
mod origins;
mod outage;
mod parked;
mod partitions;
mod pools;
mod push;
mod queries;
mod rebalance;
mod rebuild;
mod reconcile;
mod refusals;
mod registry;
mod replay;
mod restore;
mod schemas;
mod searches;
mod secure;
mod shutdown;
mod silent;
mod stalled;
mod status;
mod streams;
mod support;
mod times;
mod topics;
mod traces;
mod trimmed;
mod upgrade;
mod windows;
