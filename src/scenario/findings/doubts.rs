//! The laboratory doubts its own run.
use super::case::Case;
use super::{Rule, Said};

pub(super) const RULE: Rule = Rule {
    name: "laboratory-doubt",
    mechanism: "Where the load fell behind, a receiver was disconnected or a clock jumped, a message may be missing for an \
                innocent reason, and the run was not the one that was asked for.",
    reference: "none: it is about the laboratory",
    find,
};

fn find(case: &Case<'_>) -> Option<Said> {
    if case.doubts.is_empty() {
        return None;
    }
    Some(Said {
        title: "The laboratory doubts this run".to_owned(),
        evidence: case.doubts.to_vec(),
        advice: "run it again on a quieter machine, and with a smaller load where the load fell behind".to_owned(),
    })
}
