//! Clicks: each one link with what it was made with. No stage follows: a scheduled model sums them up.

pub mod handler;
