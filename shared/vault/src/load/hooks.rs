//! What the loader tells a process.

/// What a process wants to be told.
#[derive(Debug, Clone, Copy)]
pub struct Hooks {
    /// Rows that a statement wrote, by table.
    pub wrote: fn(&'static str, u64),
    /// Called when a `COPY` has begun and none of its rows is sent.
    pub in_copy: fn() -> Result<(), sqlx::Error>,
}

impl Hooks {
    /// Nothing is told.
    pub const NONE: Self = Self { wrote: |_, _| {}, in_copy: || Ok(()) };
}
