//! Orders: spread over the vault; what becomes countable is announced.

pub mod countable;
pub mod handler;
pub mod rows;
