//! Hotel searches: cleaned to who offers and who offers cheapest, one link each in the vault, counted by user, hotel and
//! advertiser.

pub mod clean;
pub mod delta;
pub mod rows;
pub mod vault;
