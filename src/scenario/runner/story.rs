//! One subject's story: everything in its place, the timeline, the wait for what is still on its way, the end.
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::super::environment::{EnvironmentError, World};
use super::super::examiner::Examiner;
use super::super::history::Event;
use super::super::plan::{Plan, Side, Via};
use super::super::publisher::Publisher;
use super::super::receiver::{Reached, Receiver};
use super::super::recorder::Recorder;
use super::super::remote_publisher::RemotePublisher;
use super::super::{sampler, stop};
use super::agenda::{Agenda, Step, settled};
use super::progress::Progress;
use super::way;

/// How long a client of ours may take to get its place.
const READY: Duration = Duration::from_secs(15);
/// How long a publisher may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often it is asked whether a run has settled.
const LOOK: Duration = Duration::from_millis(50);

/// One subject's story.
pub(super) struct Story<'a> {
    plan: &'a Plan,
    run: u64,
    folder: &'a Path,
    recorder: &'a Recorder,
    examiner: &'a Examiner,
    progress: &'a Progress,
    publishing: Cast,
    receiving: Cast,
    /// Faults that were begun and not healed.
    in_force: BTreeSet<usize>,
}

/// Clients of ours that stop together.
struct Cast {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Cast {
    fn new() -> Self {
        Self { tasks: JoinSet::new(), stop: watch::Sender::new(false) }
    }

    /// Tells all to stop and waits, but not for ever.
    async fn stop(&mut self) {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(FAREWELL, all).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

impl<'a> Story<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        run: u64,
        folder: &'a Path,
        recorder: &'a Recorder,
        examiner: &'a Examiner,
        progress: &'a Progress,
    ) -> Self {
        let (publishing, receiving) = (Cast::new(), Cast::new());
        Self { plan, run, folder, recorder, examiner, progress, publishing, receiving, in_force: BTreeSet::new() }
    }

    /// Tells it, to its end or until it is interrupted, and takes everything down.
    pub(super) async fn tell(
        mut self,
        world: &mut impl World,
        mut interrupted: watch::Receiver<bool>,
    ) -> Result<(), EnvironmentError> {
        let result = tokio::select! {
            result = self.play(world) => result,
            () = stop::told(&mut interrupted) => {
                self.recorder.record(Event::Interrupted);
                self.heal_all(world).await
            }
        };
        self.progress.phase("stopping", None);
        self.publishing.stop().await;
        if let Some(address) = world.metrics() {
            sampler::sample(address, self.recorder).await;
        }
        world.stop_subject().await;
        self.receiving.stop().await;
        world.stop_remote().await;
        result
    }

    async fn play(&mut self, world: &mut impl World) -> Result<(), EnvironmentError> {
        self.take_places(world).await?;
        let origin = Instant::now();
        self.recorder.begin(origin);
        self.progress.phase("publishing", Some(self.plan.end));
        let mut agenda = Agenda::new(&self.plan.faults);
        let timed_out = self.follow(&mut agenda, origin, world).await?;
        self.recorder.record(Event::Settled { timed_out });
        Ok(())
    }

    /// Takes every step when it is due and waits until the run has settled; whether that took too long. The limit
    /// counts from the end of what has a moment, and anew from each heal of what had to wait for its own.
    async fn follow(
        &mut self,
        agenda: &mut Agenda,
        origin: Instant,
        world: &mut impl World,
    ) -> Result<bool, EnvironmentError> {
        let mut drained = self.recorder.drained();
        let mut end = self.plan.end;
        let mut settling = false;
        loop {
            let now = origin.elapsed();
            while let Some(step) = agenda.due(now) {
                self.take(step, world).await?;
            }
            let progressed = *drained.borrow_and_update();
            if agenda.comes_about(progressed) {
                agenda.progressed(origin.elapsed(), progressed);
                continue;
            }
            let next = agenda.next();
            end = end.max(next.unwrap_or_default());
            let over = next.is_none() && now >= end;
            let limit = end + self.plan.settle;
            if over != std::mem::replace(&mut settling, over) {
                let (phase, until) = if over { ("settling", limit) } else { ("waiting for a heal", end) };
                self.progress.phase(phase, Some(until));
            }
            if over && settled(self.plan, &self.recorder.standing()) {
                return Ok(false);
            }
            if over && now >= limit {
                return Ok(true);
            }
            let wake = match next {
                Some(next) => next.max(now),
                None if over => (now + LOOK).min(limit),
                None => end,
            };
            tokio::select! {
                () = sleep_until((origin + wake).into()) => {}
                // It ends with the history, which this story outlives nowhere.
                Ok(()) = drained.changed(), if agenda.waits() => {}
            }
        }
    }

    async fn take(&mut self, step: Step, world: &mut impl World) -> Result<(), EnvironmentError> {
        match step {
            Step::Begin(index) => {
                self.in_force.insert(index);
                world.apply(index, &self.plan.faults[index]).await?;
            }
            Step::Heal(index) => {
                world.heal(index, &self.plan.faults[index]).await?;
                self.in_force.remove(&index);
            }
        }
        self.progress.link(world.link());
        Ok(())
    }

    async fn heal_all(&mut self, world: &mut impl World) -> Result<(), EnvironmentError> {
        for index in std::mem::take(&mut self.in_force) {
            world.heal(index, &self.plan.faults[index]).await?;
        }
        Ok(())
    }

    /// Brings everyone to their place, in the order that loses nothing: the receiver before the link, the subject before
    /// its clients, the way from the remote before what is published there.
    async fn take_places(&mut self, world: &mut impl World) -> Result<(), EnvironmentError> {
        self.receive(Side::Remote, world).await?;
        world.open_link().await?;
        self.progress.link(world.link());
        world.start_subject().await?;
        if let Some((reached, topics)) = self.receive(Side::Bridge, world).await? {
            let opened = timeout(READY, way::open(world.remote(), self.run, &topics, reached)).await;
            let why = match opened {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("nothing that was published at the remote arrived at the subject".to_owned()),
            };
            if let Some(why) = why {
                return Err(self.not_ready("the subject's subscription at the remote", why));
            }
        }
        self.publish(world).await?;
        if let Some(address) = world.metrics() {
            self.receiving
                .tasks
                .spawn(until_stopped(sampler::run(address, self.recorder.clone()), self.receiving.stop.subscribe()));
        }
        Ok(())
    }

    /// Starts the receiver on a side, if there is something to receive, and waits for its SUBACK.
    async fn receive(
        &mut self,
        side: Side,
        world: &impl World,
    ) -> Result<Option<(watch::Receiver<Reached>, BTreeSet<String>)>, EnvironmentError> {
        let (address, what) = match side {
            Side::Remote => (world.remote(), "the receiver at the remote"),
            Side::Bridge => (world.listener(), "the receiver at the subject"),
        };
        let receiver = Receiver::new(side, address, self.run, &self.plan.loads, self.recorder.clone());
        let Some(receiver) = receiver else { return Ok(None) };
        let (reached, topics) = (receiver.reached(), receiver.topics().clone());
        self.receiving.tasks.spawn(receiver.run(self.receiving.stop.subscribe()));
        let mut waiting = reached.clone();
        let placed = |reached: &Reached| reached.subscribed || reached.refused.is_some();
        let place = timeout(READY, waiting.wait_for(placed)).await;
        let why = match place {
            Ok(Ok(reached)) => reached.refused.clone(),
            Ok(Err(_)) => Some("it has ended".to_owned()),
            Err(_) => Some("it did not get its SUBACK".to_owned()),
        };
        match why {
            Some(why) => Err(self.not_ready(what, why)),
            None => {
                if let Some(topic) = topics.first().filter(|_| side == Side::Remote) {
                    self.examiner.attend(topic.clone(), reached.clone());
                }
                Ok(Some((reached, topics)))
            }
        }
    }

    /// Starts every publisher and waits until each has its CONNACK.
    async fn publish(&mut self, world: &impl World) -> Result<(), EnvironmentError> {
        let mut places = Vec::new();
        for (index, load) in self.plan.loads.iter().enumerate() {
            let (connected, place) = oneshot::channel();
            let (load, number) = (load.clone(), index as u16);
            places.push((load.topic.clone(), place));
            let (recorder, stop) = (self.recorder.clone(), self.publishing.stop.subscribe());
            match load.via {
                Via::Bridge => {
                    let publisher = Publisher::new(number, load, self.run, world.listener(), recorder);
                    self.publishing.tasks.spawn(publisher.run(connected, stop));
                }
                Via::Remote => {
                    let publisher = RemotePublisher::new(number, load, self.run, world.remote(), recorder);
                    self.publishing.tasks.spawn(publisher.run(connected, stop));
                }
            }
        }
        let deadline = tokio::time::Instant::now() + READY;
        for (topic, place) in places {
            if !matches!(tokio::time::timeout_at(deadline, place).await, Ok(Ok(()))) {
                return Err(
                    self.not_ready(&format!("the publisher of {topic}"), "it did not get its CONNACK".to_owned())
                );
            }
        }
        Ok(())
    }

    fn not_ready(&self, what: &str, why: String) -> EnvironmentError {
        let logs = self.folder.join("logs");
        EnvironmentError::NotReady { what: what.to_owned(), seconds: READY.as_secs(), why, logs }
    }
}

async fn until_stopped(task: impl Future<Output = ()>, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = task => {}
        () = stop::told(&mut stop) => {}
    }
}
