//! The story of a subject that is simulated: the same plan, the same history, in virtual time. Pure: nothing waits.
use std::time::Duration;

use super::super::history::{Event, Record, Role, VIRTUAL};
use super::super::ledger::{Ledger, received_at};
use super::super::plan::{Load, Plan, Side, Via};
use super::super::recorder::Standing;
use super::super::schedule;
use super::super::subject::nanomq_model::{Happening, Model, Modelled, Outage, Unknown, outage};
use super::agenda::{Agenda, Step, settled};

/// How often the counters are sampled.
const SAMPLE: Duration = Duration::from_secs(1);
/// How often it is asked whether a run has settled.
const LOOK: Duration = Duration::from_millis(50);
/// So long after the last message it is looked whether another can come.
const QUIET: Duration = Duration::from_secs(2);
/// The publishers of one instant come one after the other, in an order and a distance that nobody knows.
const BURST: Duration = Duration::from_millis(5);

/// From the progress that a fault waits for to the fault: an answer that is on its way still arrives.
const REACTION: Duration = Duration::from_millis(10);

/// Who hears what happens, record by record.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(&Record);

/// The history in the making.
struct Tale<'a> {
    ledger: Ledger,
    traffic: Duration,
    sink: Sink<'a>,
}

impl Tale<'_> {
    fn note(&mut self, at: Duration, event: Event) {
        if matches!(event, Event::Sent { .. } | Event::Acknowledged { .. } | Event::Received { .. }) {
            self.traffic = at;
        }
        let record = Record::at(at, event);
        self.ledger.fold(&record);
        (self.sink)(&record);
    }

    fn happened(&mut self, plan: &Plan, at: Duration, happening: Happening) {
        match happening {
            Happening::Published(load, seq) => {
                self.note(at, Event::Sent { load, seq, again: false });
                if plan.loads.get(usize::from(load)).is_some_and(|load| load.qos > 0) {
                    self.note(at, Event::Acknowledged { load, seq });
                }
            }
            Happening::Received(load, seq) => self.note(at, Event::Received { load, seq }),
            Happening::Log(text) => self.note(at, Event::Log { role: Role::Subject, line: dated(at, &text) }),
            Happening::Started => self.note(at, Event::ProcessStarted { role: Role::Subject, pid: 1 }),
            Happening::Ended(status, wanted) => {
                let status = status.to_owned();
                self.note(at, Event::ProcessEnded { role: Role::Subject, status, wanted });
            }
        }
    }
}

/// A line as NanoMQ writes it to the console; the day is that of the virtual clock.
fn dated(at: Duration, text: &str) -> String {
    let seconds = at.as_secs();
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    format!("1970-01-01 {hours:02}:{minutes:02}:{:02} [1] {text}", seconds % 60)
}

/// What the faults of a plan are to the model.
///
/// # Errors
/// [`Unknown`] for the first that it has nothing for.
pub(crate) fn outages(plan: &Plan) -> Result<Vec<Outage>, Unknown> {
    plan.faults.iter().map(outage).collect()
}

/// The first line of its history.
pub(crate) fn run(plan: &Plan, subject: &str, modelled: &Modelled) -> Event {
    let inputs = &modelled.inputs;
    Event::Run {
        run: plan.seed,
        subject: subject.to_owned(),
        version: format!("model of NanoMQ {}, {} workers", modelled.version, inputs.workers),
        environment: VIRTUAL.to_owned(),
        remote: "modelled as well".to_owned(),
        approximated: Vec::new(),
        unexpressed: modelled.unexpressed.clone(),
        because: None,
        artifacts: [("subject".to_owned(), format!("simulated, round trip {:?}", inputs.round_trip))].into(),
    }
}

/// Tells the whole story, record by record, and gives its ledger. `seed` is that of what the scenario leaves open.
pub(crate) fn tell(plan: &Plan, modelled: &Modelled, outages: &[Outage], seed: u64, sink: Sink<'_>) -> Ledger {
    let mut tale = Tale { ledger: Ledger::new(plan), traffic: Duration::ZERO, sink };
    let mut model = modelled.model(plan, seed);
    for side in [Side::Remote, Side::Bridge] {
        let received = |load: &Load| received_at(load) == side;
        if plan.loads.iter().any(received) {
            tale.note(Duration::ZERO, Event::ReceiverConnected { side });
        }
    }
    for (load, _) in plan.loads.iter().enumerate() {
        tale.note(Duration::ZERO, Event::PublisherConnected { load: load as u16, session_present: false });
    }
    for (at, happening) in model.happened() {
        tale.happened(plan, at, happening);
    }
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x6c6f_6164);
    let offsets: Vec<Duration> =
        plan.loads.iter().map(|_| Duration::from_micros(rng.u64(..BURST.as_micros() as u64))).collect();
    let mut publishes: Vec<(Duration, u16, u64)> =
        schedule::merged(plan).map(|(at, load, seq)| (at + offsets[usize::from(load)], load, seq)).collect();
    publishes.sort_unstable_by_key(|(at, ..)| std::cmp::Reverse(*at));
    // Published at a remote that was down: its publisher tries again.
    let mut held_back: Vec<(u16, u64)> = Vec::new();
    let mut agenda = Agenda::new(&plan.faults);
    let (mut end, mut now, mut sample) = (plan.end, Duration::ZERO, SAMPLE);
    loop {
        let next = agenda.next();
        end = end.max(next.unwrap_or_default());
        let over = next.is_none() && publishes.is_empty() && now >= end;
        if over {
            let quiet = now.saturating_sub(tale.traffic);
            // Where no message stands anywhere, the limit comes at once.
            if model.is_empty()
                && quiet >= QUIET
                && !settled(plan, &Standing { progress: tale.ledger.progress(), quiet })
            {
                now = now.max(end + plan.settle);
            }
            let timed_out = now >= end + plan.settle;
            if timed_out || settled(plan, &Standing { progress: tale.ledger.progress(), quiet }) {
                tale.note(now, Event::Counters { values: model.counters() });
                tale.note(now, Event::Settled { timed_out });
                return tale.ledger;
            }
        }
        // At the same moment: what the model has for itself, then faults, then publishes.
        let publish = publishes.last().map(|(at, ..)| *at);
        let look = if over { now + LOOK } else { end.max(now) };
        let at = [model.due(), next, publish, Some(sample)].into_iter().flatten().min().unwrap_or(look);
        let at = if over { at.min(look) } else { at };
        now = now.max(at);
        model.advance(now);
        if model.due().is_some_and(|due| due <= now) {
            model.step();
        } else if let Some(step) = agenda.due(now) {
            take(plan, step, outages, now, &mut model, &mut tale);
        } else if publish.is_some_and(|publish| publish <= now)
            && let Some((_, load, seq)) = publishes.pop()
        {
            let of = &plan.loads[usize::from(load)];
            match of.via {
                Via::Bridge => model.publish(load, seq, of.qos),
                Via::Remote => held_back.push((load, seq)),
            }
        } else if sample <= now {
            tale.note(now, Event::Counters { values: model.counters() });
            sample += SAMPLE;
        }
        held_back.retain(|(load, seq)| !model.publish_at_remote(*load, *seq, plan.loads[usize::from(*load)].qos));
        for (at, happening) in model.happened() {
            tale.happened(plan, at, happening);
        }
        if agenda.comes_about(tale.ledger.drained()) {
            agenda.progressed(now + REACTION, tale.ledger.drained());
        }
    }
}

fn take(plan: &Plan, step: Step, outages: &[Outage], now: Duration, model: &mut Model, tale: &mut Tale<'_>) {
    let (Step::Begin(index) | Step::Heal(index)) = step;
    let (Some(fault), Some(outage)) = (plan.faults.get(index), outages.get(index)) else { return };
    let (kind, on) = (fault.kind, fault.on);
    match step {
        Step::Begin(_) => {
            tale.note(now, Event::FaultOn { fault: index, kind, on });
            model.begin(*outage);
        }
        Step::Heal(_) => {
            model.heal(*outage);
            tale.note(now, Event::FaultOff { fault: index, kind, on });
        }
    }
}
