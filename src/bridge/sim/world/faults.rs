//! What goes wrong, and how it is set right.
use super::*;

impl World {
    pub(super) fn heal(&mut self) {
        self.say(|| "everything is healed".into());
        self.healed = true;
        for (remote, plan) in self.remotes.iter_mut().zip(&self.plan.remotes) {
            remote.stalled = [self.now; 2];
            remote.refused_until = if plan.never_up { Time::MAX } else { self.now };
            remote.holds_back = None;
            remote.broker.mute_until = self.now;
            remote.broker.misbehaviour = Misbehaviour::default();
            remote.broker.maximum_qos = QoS::ExactlyOnce;
        }
        self.disk_until = self.now;
        if self.process.is_none() {
            self.restart_at = Some(self.now);
        }
    }

    pub(super) fn fail(&mut self, number: usize, fault: Fault) {
        let (now, remote) = (self.now, &mut self.remotes[number]);
        match fault {
            Fault::Stall { up, down, lasting } => {
                for (stalled, this) in remote.stalled.iter_mut().zip([up, down]) {
                    if this {
                        *stalled = (*stalled).max(now + lasting);
                    }
                }
            }
            Fault::Reset => {
                for link in &mut remote.links {
                    for pipe in [&mut link.up, &mut link.down] {
                        pipe.lose();
                        pipe.push(Chunk::Reset, now);
                    }
                }
            }
            Fault::Close => remote.broker.close_all(),
            Fault::LoseSession => remote.broker.lose_session(),
            Fault::Refuse { lasting } => remote.refused_until = remote.refused_until.max(now + lasting),
            Fault::Mute { lasting } => remote.broker.mute_until = now + lasting,
            Fault::HoldBack { lasting } => {
                remote.holds_back = Some(lasting);
                // So that there is a next connection.
                remote.broker.close_all();
            }
            Fault::ReceiveMaximum(number) => remote.broker.receive_maximum = number,
            Fault::MaximumPacketSize(bytes) => remote.broker.maximum_packet_size = Some(bytes),
            Fault::MaximumQoS(qos) if remote.broker.version == crate::bridge::wire::Version::V5 => {
                remote.broker.maximum_qos = qos;
                remote.broker.close_all();
            }
            Fault::MaximumQoS(_) => {}
            Fault::Kill { away } => self.kill(away, true),
            Fault::PowerLoss { away } => {
                self.kill(away, false);
                if let Some(disk) = &mut self.disk {
                    disk.lose_power();
                }
            }
            Fault::FreshCache { away } => {
                self.kill(away, true);
                if let Some(disk) = &mut self.disk {
                    *disk = Disk::new(self.sin);
                    self.ledger.excuse_all();
                    self.publishers.iter_mut().for_each(|publisher| publisher.kept = false);
                }
            }
            Fault::Suspend { .. } if self.suspended_until > now => {}
            Fault::Suspend { lasting, asleep } => {
                self.suspended_until = now + lasting;
                if asleep && let Some(process) = &mut self.process {
                    process.clock.stand_still(lasting);
                }
            }
            Fault::DiskStall { lasting } => self.disk_until = now + lasting,
            Fault::LocalReset { publisher } => self.break_local(publisher),
            Fault::WallClock { seconds } => self.wall = seconds,
        }
    }

    /// Any number of the commits that are asked for is made, and nobody hears of it; the remotes are told where the
    /// machine lives on.
    fn kill(&mut self, away: Duration, machine_lives: bool) {
        let Some(mut process) = self.process.take() else { return };
        for (account, leg) in self.ledger.accounts.iter_mut().zip(&process.legs) {
            account.ambiguous += leg.forwarder.statistics.ambiguous;
        }
        let bridges = process.bridges();
        let now = process.clock.at(self.now);
        // What is begun is made as a whole or not at all.
        let finishes = process.writer.is_busy() && self.random.bool();
        if finishes {
            process.writer.finish(true, now);
            let more = self.random.usize(0..=process.requests.len());
            for request in process.requests.drain(..more) {
                process.writer.begin(vec![request], now);
                process.writer.finish(true, now);
            }
        }
        self.say(|| format!("the last commit is made: {finishes}"));
        self.ledger.committed(&bridges, &mut process.writer, now);
        self.disk = Some(process.writer.into_cache());
        for (remote, leg) in self.remotes.iter_mut().zip(process.legs) {
            let Some(connection) = leg.connection else { continue };
            let link = &mut remote.links[connection.link];
            link.client_open = false;
            link.down.lose();
            if machine_lives {
                link.up.push(Chunk::Reset, self.now);
            }
        }
        self.restart_at = Some(self.now + away);
        for publisher in &mut self.publishers {
            publisher.lose_link(self.now + millis(self.random.u64(1..1_000)));
        }
    }

    pub(super) fn restart(&mut self) {
        self.restart_at = None;
        let Some(disk) = self.disk.take() else { return };
        self.say(|| "process starts".into());
        self.suspended_until = self.suspended_until.min(self.now);
        let wall = EPOCH + self.now;
        let jump = Duration::from_secs(self.wall.unsigned_abs());
        let wall = if self.wall < 0 { wall - jump } else { wall + jump };
        self.process = Some(Process::start(&self.plan, disk, self.now, wall, self.sin));
        self.ledger.restarted();
    }
}
