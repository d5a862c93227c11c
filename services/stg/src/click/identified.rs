//! Clicks as they are staged.

use strata_streams::click::CleanedClick;

/// A valid click with its identity and its text.
#[derive(Debug)]
pub struct IdentifiedClick {
    /// What it is known by in all layers.
    pub event_id: String,
    /// The click, cleaned.
    pub click: CleanedClick,
    /// The record as received, fields unknown to us included.
    pub text: Box<str>,
}
