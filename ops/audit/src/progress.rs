//! What is told while the layers are compared.

use uuid::Uuid;

/// Says which step begins, in words for people.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// Tells how much of the rows of a name was compared, each percent once.
pub struct Told<'a> {
    progress: Progress<'a>,
    name: &'a str,
    percent: Option<u64>,
}

impl<'a> Told<'a> {
    /// Nothing was told yet.
    pub fn new(progress: Progress<'a>, name: &'a str) -> Self {
        Self { progress, name, percent: None }
    }

    /// All keys before this one were compared: keys are hashes, so they lie evenly.
    pub fn at(&mut self, key: Uuid) {
        let percent = ((key.as_u64_pair().0 >> 32) * 100) >> 32;
        if self.percent.replace(percent) != Some(percent) {
            (self.progress)(&format!("{}: {percent} % compared", self.name));
        }
    }
}
