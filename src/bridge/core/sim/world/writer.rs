//! Publishers, and the thread that owns the cache: commits in order, and pages.
use super::*;

impl World {
    pub(super) fn publish(&mut self) {
        while self.plan.messages.get(self.next_message).is_some_and(|spec| spec.at <= self.now) {
            let id = self.next_message;
            let Some(process) = &mut self.process else {
                // Its publisher waits until there is somebody to take it.
                let Some(at) = self.restart_at else { return };
                self.plan.messages[id].at = at.max(self.now);
                if self.plan.messages[id].at > self.now {
                    self.plan.messages[id..].iter_mut().for_each(|spec| spec.at = spec.at.max(at));
                }
                return;
            };
            self.next_message += 1;
            let at = self.now + millis(self.random.u64(0..self.plan.commit));
            let at = process.jobs.back().map_or(at, |(last, _)| at.max(*last));
            process.jobs.push_back((at, Job::Store(id)));
            if self.sin == Some(Sin::AcknowledgesBeforeCommit) {
                self.ledger.records[id].accepted = true;
            }
        }
    }

    pub(super) fn message(&self, id: usize) -> Arc<Message> {
        let spec = &self.plan.messages[id];
        let mut payload = (id as u64).to_be_bytes().to_vec();
        payload.resize(spec.size, 0);
        let properties = Properties { message_expiry: spec.expiry, ..Properties::default() };
        Arc::new(Message { properties, ..Message::new(TOPICS[spec.topic], payload, spec.qos) })
    }

    /// The writer's work; says what became of each write.
    pub(super) fn apply(&mut self, job: &Job, bridge: BridgeId) -> Vec<Applied> {
        match job {
            Job::Store(id) => {
                self.seq.0 += 1;
                let message = self.message(*id);
                let to = NewDelivery {
                    bridge,
                    topic: message.topic.clone(),
                    qos: message.qos,
                    retain: false,
                    when_full: None,
                };
                let store =
                    Store { seq: self.seq, message, received_at: self.now, deliveries: vec![to], received_id: None };
                self.ledger.accepted(*id, self.seq, true, self.now);
                self.say(|| format!("message {id} is committed as {}", self.seq.0));
                self.cache.apply(&[Write::Store(Box::new(store))]).unwrap()
            }
            Job::Forwarder(writes) => {
                self.say(|| format!("committed: {writes:?}"));
                for write in writes {
                    self.ledger.committed(write);
                }
                let sinned = |write: &&Write| match write {
                    Write::Progress { step: Progress::Sent { .. }, .. } => self.sin != Some(Sin::SentIsNotCommitted),
                    Write::Progress { step: Progress::Released { .. }, .. } => {
                        self.sin != Some(Sin::ReleasedIsNotCommitted)
                    }
                    _ => true,
                };
                let kept: Vec<Write> = writes.iter().filter(sinned).cloned().collect();
                self.cache.apply(&kept).unwrap();
                let usage = self.cache.usage(bridge);
                if usage.messages != self.ledger.rows() && self.ledger.strict {
                    self.ledger.violate(format!("G7: {} rows, {} accounted for", usage.messages, self.ledger.rows()));
                }
                vec![Applied::Done; writes.len()]
            }
        }
    }

    pub(super) fn commit(&mut self) {
        while let Some(process) = &mut self.process {
            let (disk_until, now) = (self.disk_until, self.now);
            let Some((_, job)) = process.jobs.pop_front_if(|(at, _)| (*at).max(disk_until) <= now) else { return };
            let bridge = process.bridge;
            match &job {
                Job::Store(id) => self.store(*id, &job, bridge),
                Job::Forwarder(_) => {
                    let outcomes = vec![Ok(()); self.apply(&job, bridge).len()];
                    if let Some(process) = &mut self.process {
                        process.forwarder.handle_committed(&outcomes, self.now);
                    }
                }
            }
        }
    }

    pub(super) fn store(&mut self, id: usize, job: &Job, bridge: BridgeId) {
        let message = self.message(id);
        let Some(process) = &mut self.process else { return };
        let mut delivery = Delivery {
            seq: Seq(self.seq.0 + 1),
            topic: message.topic.clone(),
            qos: message.qos,
            retain: false,
            received_at: self.now,
            kept: Kept::Volatile,
            message,
        };
        if delivery.qos == QoS::AtMostOnce && process.ring.takes_volatile() {
            self.seq.0 += 1;
            self.ledger.accepted(id, self.seq, false, self.now);
            assert!(process.ring.push(delivery).is_ok());
            return;
        }
        if delivery.qos == QoS::AtMostOnce && !self.plan.cache_qos0 {
            let dropped = Write::Count { bridge, outcome: Outcome::Dropped(DropReason::Qos0Offline) };
            return self.ledger.committed(&dropped);
        }
        self.apply(job, bridge);
        delivery.kept = Kept::Row;
        let process = self.process.as_mut().filter(|_| self.sin != Some(Sin::ReadsOnePageOnly) || self.seq.0 < 20);
        if let Some(process) = process {
            let _ = process.ring.push(delivery);
        }
    }

    pub(super) fn read_pages(&mut self) {
        let Some(process) = &mut self.process else { return };
        if let Some((_, page, complete)) = process.page.take_if(|(at, ..)| *at <= self.now) {
            process.ring.refill(page, complete);
        }
        if let Some((_, after, messages, bytes)) = process.asked.take_if(|(at, ..)| *at <= self.now) {
            let page = self.cache.page(process.bridge, after, messages, bytes).unwrap();
            let at = self.now + millis(self.random.u64(0..self.plan.commit));
            process.page = Some((at, page.deliveries, page.complete));
        }
    }
}
