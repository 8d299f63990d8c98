//! `mqtt_client.db`: the table `t_client_offline_msg`, which all bridges of a broker share.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::message::Message;

/// The rows; they outlive the process.
#[derive(Debug)]
pub(super) struct Disk {
    rows: BTreeMap<u64, Row>,
    next: u64,
    /// `disk_cache_size`.
    size: usize,
    /// How far the wall clock is into its second when the model's begins.
    phase: Duration,
}

#[derive(Debug)]
struct Row {
    bridge: usize,
    /// `ts`: CURRENT_TIMESTAMP, which has whole seconds.
    second: u64,
    message: Message,
}

impl Disk {
    pub(super) fn new(size: u64, phase: Duration) -> Self {
        Self { rows: BTreeMap::new(), next: 0, size: usize::try_from(size).unwrap_or(usize::MAX), phase }
    }

    /// Rows of a bridge.
    pub(super) fn rows_of(&self, bridge: usize) -> usize {
        self.rows.values().filter(|row| row.bridge == bridge).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes messages of a bridge, and then deletes what NanoMQ deletes.
    pub(super) fn flush(&mut self, bridge: usize, messages: impl Iterator<Item = Message>, now: Duration) {
        let second = (now + self.phase).as_secs();
        for message in messages {
            self.rows.insert(self.next, Row { bridge, second, message });
            self.next += 1;
        }
        self.remove_oldest(bridge);
    }

    /// `DELETE FROM t WHERE ts NOT IN (SELECT ts FROM t WHERE info_id = <bridge> ORDER BY ts DESC LIMIT n)`: of whichever
    /// bridge, every row goes whose second is not that of one of this bridge's newest rows.
    fn remove_oldest(&mut self, bridge: usize) {
        let own = self.rows_of(bridge);
        if own == self.rows.len() && own <= self.size {
            return;
        }
        let newest = self.rows.values().rev().filter(|row| row.bridge == bridge).take(self.size);
        let seconds: BTreeSet<u64> = newest.map(|row| row.second).collect();
        self.rows.retain(|_, row| seconds.contains(&row.second));
    }

    /// The oldest row of a bridge, which is deleted before anything is done with it.
    pub(super) fn take_oldest(&mut self, bridge: usize) -> Option<Message> {
        let id = *self.rows.iter().find(|(_, row)| row.bridge == bridge)?.0;
        self.rows.remove(&id).map(|row| row.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(count: u64) -> impl Iterator<Item = Message> {
        (0..count).map(|seq| Message { load: 0, seq, qos: 1, bytes: 80, packet_id: 1 })
    }

    #[test]
    fn a_flush_of_one_bridge_deletes_the_rows_of_the_other_that_are_of_another_second() {
        let mut disk = Disk::new(100, Duration::ZERO);
        disk.flush(0, messages(10), Duration::from_millis(1_100));
        disk.flush(0, messages(10), Duration::from_millis(2_900));
        disk.flush(1, messages(1), Duration::from_millis(2_999));
        assert_eq!((disk.rows_of(0), disk.rows_of(1)), (10, 1));
    }

    #[test]
    fn a_full_table_keeps_the_whole_second_of_its_oldest_row() {
        let mut disk = Disk::new(15, Duration::ZERO);
        disk.flush(0, messages(10), Duration::from_secs(1));
        disk.flush(0, messages(10), Duration::from_secs(2));
        assert_eq!(disk.rows_of(0), 20);
        disk.flush(0, messages(10), Duration::from_secs(3));
        assert_eq!(disk.rows_of(0), 20);
        assert_eq!(disk.take_oldest(0).map(|message| message.seq), Some(0));
    }
}
