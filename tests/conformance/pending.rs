//! What the broker does not do yet.
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::common::PATIENCE;

/// Tests that must fail: each passes only while the broker does NOT do what it says, and turns red with the feature. Its
/// line is then to be taken out.
pub(crate) const PENDING: &[&str] = &[];

thread_local! {
    static IS_PENDING: Cell<bool> = const { Cell::new(false) };
}

/// How long what is to come may take; less where it is expected not to come.
pub(crate) fn patience() -> Duration {
    if IS_PENDING.get() { Duration::from_secs(3) } else { PATIENCE }
}

/// Runs a test, the one that this closure is written in; the other way round where it is pending.
pub(crate) fn check<F: FnOnce()>(test: F) {
    let name = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    let name = name.split_once("::").map_or(name, |(_crate, name)| name);
    if !PENDING.contains(&name) {
        return test();
    }
    IS_PENDING.set(true);
    let failed = catch_unwind(AssertUnwindSafe(test)).is_err();
    assert!(failed, "{name} passes now: take it out of PENDING in tests/conformance/pending.rs");
}
