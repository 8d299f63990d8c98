//! What is to be done when: the faults of a plan as steps, those that wait for progress included, and when a run has
//! settled. Pure: the moment and the progress are arguments.
use std::time::Duration;

use super::super::ledger::Drained;
use super::super::plan::{Fault, Plan, When};
use super::super::recorder::Standing;

/// Nothing has happened for so long: nothing more is expected of the subject.
const QUIET: Duration = Duration::from_secs(1);

/// Begin or heal a fault, by its index in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Begin(usize),
    Heal(usize),
}

/// The steps that are left.
#[derive(Debug)]
pub(super) struct Agenda {
    /// In order of time; at the same moment heals come before new faults, and what has no duration ends last.
    fixed: Vec<(Duration, u8, Step)>,
    /// Faults that wait for progress, with what they wait for and how long they hold.
    waiting: Vec<(usize, When, Duration)>,
}

impl Agenda {
    pub(super) fn new(faults: &[Fault]) -> Self {
        let mut agenda = Self { fixed: Vec::new(), waiting: Vec::new() };
        for (index, fault) in faults.iter().enumerate() {
            match fault.when {
                Some(when) => agenda.waiting.push((index, when, fault.length())),
                None => agenda.insert(index, fault.start, fault.length()),
            }
        }
        agenda
    }

    fn insert(&mut self, index: usize, start: Duration, length: Duration) {
        let rank = if length.is_zero() { 2 } else { 0 };
        self.fixed.push((start, 1, Step::Begin(index)));
        self.fixed.push((start + length, rank, Step::Heal(index)));
        // Stable: steps of the same moment and rank stay in the order of the plan.
        self.fixed.sort_by_key(|(moment, rank, _)| (*moment, *rank));
    }

    /// The moment of the next step that has one.
    pub(super) fn next(&self) -> Option<Duration> {
        self.fixed.first().map(|(moment, ..)| *moment)
    }

    /// Whether there are faults that wait for progress.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next step that is due at `now`.
    pub(super) fn due(&mut self, now: Duration) -> Option<Step> {
        self.next().filter(|moment| *moment <= now)?;
        Some(self.fixed.remove(0).2)
    }

    /// Whether some fault has nothing more to wait for.
    pub(super) fn comes_about(&self, drained: Option<Drained>) -> bool {
        self.waiting.iter().any(|(_, when, _)| has_come_about(*when, drained))
    }

    /// Gives every fault that has nothing more to wait for its moment, which is `now`, and its heal accordingly.
    pub(super) fn progressed(&mut self, now: Duration, drained: Option<Drained>) {
        let (begun, waiting) = self.waiting.drain(..).partition(|(_, when, _)| has_come_about(*when, drained));
        self.waiting = waiting;
        let begun: Vec<(usize, When, Duration)> = begun;
        begun.into_iter().for_each(|(index, _, length)| self.insert(index, now, length));
    }
}

fn has_come_about(When::Drained(percent): When, drained: Option<Drained>) -> bool {
    drained.is_some_and(|drained| drained.reached(percent))
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
    use super::super::super::plan::{FaultKind, Parameters, Side};
    use super::super::super::story::plan;
    use super::*;

    fn fault(start: u64, end: u64, when: Option<When>) -> Fault {
        let (start, end) = (Duration::from_secs(start), Duration::from_secs(end));
        Fault { kind: FaultKind::Cut, on: Side::Remote, parameters: Parameters::None, when, start, end }
    }

    fn all(agenda: &mut Agenda) -> Vec<(u64, Step)> {
        std::iter::from_fn(|| {
            let moment = agenda.next()?;
            Some((moment.as_secs(), agenda.due(moment)?))
        })
        .collect()
    }

    #[test]
    fn steps_are_in_order_of_time_and_a_heal_comes_first() {
        let mut agenda = Agenda::new(&[fault(1, 5, None), fault(2, 2, None), fault(5, 6, None)]);
        assert_eq!(agenda.due(Duration::from_millis(999)), None);
        let order: Vec<Step> = all(&mut agenda).into_iter().map(|(_, step)| step).collect();
        let expected = [Step::Begin(0), Step::Begin(1), Step::Heal(1), Step::Heal(0), Step::Begin(2), Step::Heal(2)];
        assert_eq!(order, expected);
    }

    #[test]
    fn what_waits_for_progress_begins_when_it_comes_about_and_heals_so_much_later() {
        let mut agenda = Agenda::new(&[fault(1, 5, None), fault(0, 9, Some(When::Drained(20)))]);
        assert!(agenda.waits());
        let drained = |arrived| Some(Drained { backlog: 10, arrived });
        for too_little in [None, drained(0), drained(1)] {
            assert!(!agenda.comes_about(too_little));
            agenda.progressed(Duration::from_secs(3), too_little);
        }
        assert!(agenda.comes_about(drained(2)));
        agenda.progressed(Duration::from_secs(7), drained(2));
        assert!(!agenda.waits());
        let expected = [(1, Step::Begin(0)), (5, Step::Heal(0)), (7, Step::Begin(1)), (16, Step::Heal(1))];
        assert_eq!(all(&mut agenda), expected);
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
