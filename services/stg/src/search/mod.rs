//! Hotel searches: staged as received, cleaned to who offers and who offers cheapest.

pub mod handler;
pub mod identified;
pub mod store;
