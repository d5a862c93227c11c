//! The vault of one stage: the loop with its handlers on a database of its own, without Kafka and other stages.

mod history;
mod instances;
mod support;
mod writers;
