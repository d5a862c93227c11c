//! How the fuzz targets are run; those of other crates include this file.

use proptest::prelude::ProptestConfig;
use proptest::test_runner::FileFailurePersistence;

/// As many cases as `PROPTEST_CASES` says, else `cases`; inputs that failed are kept beside the crate's sources.
pub fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let kept = FileFailurePersistence::Direct("proptest-regressions/fuzz.txt");
    ProptestConfig {
        cases: asked.unwrap_or(cases),
        failure_persistence: Some(Box::new(kept)),
        ..ProptestConfig::default()
    }
}
