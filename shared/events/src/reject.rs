//! Why an input cannot be used.

/// A reason that makes an input a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Reject {
    /// Stable snake-case code, for filters and metrics.
    pub code: &'static str,
    /// One sentence that names the field and the value.
    pub detail: String,
}

impl Reject {
    /// Builds a reason from its code and a sentence.
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}
