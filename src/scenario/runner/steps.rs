//! What is to be done when: the faults of a plan as a list of steps, and when a run has settled.
use std::time::Duration;

use super::super::plan::{Fault, Plan};
use super::super::recorder::Standing;

/// Nothing has happened for so long: nothing more is expected of the subject.
const QUIET: Duration = Duration::from_secs(1);

/// Begin or heal a fault, by its index in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Begin(usize),
    Heal(usize),
}

/// The steps in order of time. At the same moment heals come before new faults, and what has no duration ends last.
pub(super) fn steps(faults: &[Fault]) -> Vec<(Duration, Step)> {
    let mut steps: Vec<(Duration, u8, Step)> = Vec::new();
    for (index, fault) in faults.iter().enumerate() {
        steps.push((fault.start, 1, Step::Begin(index)));
        steps.push((fault.end, if fault.end > fault.start { 0 } else { 2 }, Step::Heal(index)));
    }
    steps.sort_by_key(|(moment, rank, _)| (*moment, *rank));
    steps.into_iter().map(|(moment, _, step)| (moment, step)).collect()
}

/// Whether everything is published and answered, what was acknowledged has arrived, and the subject is quiet. QoS 0 has
/// no answer: quiet has to do.
pub(super) fn settled(plan: &Plan, standing: &Standing) -> bool {
    let answerable: u64 = plan.loads.iter().filter(|load| load.qos > 0).map(|load| load.count()).sum();
    let progress = &standing.progress;
    let answered = progress.acknowledged + progress.refused >= answerable && progress.sent >= progress.intended;
    answered && progress.outstanding == 0 && standing.quiet >= QUIET
}

#[cfg(test)]
mod tests {
    use super::super::super::ledger::Progress;
    use super::super::super::plan::{FaultKind, Side};
    use super::super::super::story::plan;
    use super::*;

    #[test]
    fn steps_are_in_order_of_time_and_a_heal_comes_first() {
        let fault = |start, end| Fault {
            kind: FaultKind::Cut,
            on: Side::Remote,
            start: Duration::from_secs(start),
            end: Duration::from_secs(end),
        };
        let steps = steps(&[fault(1, 5), fault(2, 2), fault(5, 6)]);
        let order: Vec<Step> = steps.iter().map(|(_, step)| *step).collect();
        let expected = [Step::Begin(0), Step::Begin(1), Step::Heal(1), Step::Heal(0), Step::Begin(2), Step::Heal(2)];
        assert_eq!(order, expected);
    }

    #[test]
    fn a_run_settles_when_all_is_answered_arrived_and_quiet() {
        let plan = plan(
            "load:\n  - { topic: a, qps: 2 }\n  - { topic: b, qos: 0, qps: 1 }\n\
             timeline:\n  - { at: 0s, do: publish, for: 2s }\n",
        );
        let all = Progress { intended: 6, sent: 6, acknowledged: 3, refused: 1, received: 4, outstanding: 0 };
        let settled = |progress, millis| settled(&plan, &Standing { progress, quiet: Duration::from_millis(millis) });
        assert!(settled(all, 1000));
        assert!(!settled(all, 999));
        assert!(!settled(Progress { outstanding: 1, ..all }, 1000));
        assert!(!settled(Progress { acknowledged: 2, ..all }, 1000));
        assert!(!settled(Progress { sent: 5, ..all }, 1000));
    }
}
