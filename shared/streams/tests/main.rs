//! The registry and what is made from it.

mod registry;
mod vault_document;
