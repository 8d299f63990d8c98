//! What the kernel says of the bridge.
use std::time::Duration;

use tokio::time::Instant;

const EVERY: Duration = Duration::from_secs(1);
/// A shorter run has not warmed up: its memory is shown and not judged.
const JUDGED_FROM: usize = 120;

/// Resident memory in KiB, second by second, and user and system time in all.
#[derive(Debug)]
pub(crate) struct Measured {
    resident: Vec<f64>,
    cpu: Duration,
}

fn proc(id: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap()
}

/// proc(5), `stat`: ticks of 10 ms.
fn cpu(id: u32) -> Duration {
    let stat = proc(id, "stat");
    let after_name = &stat[stat.rfind(')').unwrap() + 2..];
    let ticks: u64 = after_name.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

pub(crate) async fn measure(id: u32, until: Instant) -> Measured {
    let (before, mut resident) = (cpu(id), Vec::new());
    while Instant::now() + EVERY <= until {
        tokio::time::sleep(EVERY).await;
        let status = proc(id, "status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        resident.push(line.split_whitespace().nth(1).unwrap().parse().unwrap());
    }
    Measured { resident, cpu: cpu(id) - before }
}

impl Measured {
    /// KiB a minute, over the second half, by least squares.
    fn slope(&self) -> f64 {
        let half = &self.resident[self.resident.len() / 2..];
        let count = half.len() as f64;
        let (middle, mean) = ((count - 1.0) / 2.0, half.iter().sum::<f64>() / count);
        let parts = half.iter().enumerate().map(|(at, value)| (at as f64 - middle, value - mean));
        let (over, under) = parts.fold((0.0, 0.0), |sum, (x, y)| (sum.0 + x * y, sum.1 + x * x));
        if under > 0.0 { over / under * 60.0 } else { 0.0 }
    }

    pub(crate) fn table(&self, messages: u64) -> String {
        let mib = |kib: f64| kib / 1024.0;
        let most = self.resident.iter().copied().fold(0.0, f64::max);
        let at = |share: usize| mib(self.resident[(self.resident.len() - 1) * share / 4]);
        format!(
            "resident memory, MiB: {:.1} at first, {:.1}, {:.1}, {:.1} after each quarter, {:.1} at last; most {:.1}; \
             {:+.2} MiB a minute over the second half\nCPU: {:.1} s, {:.0} us a message",
            at(0),
            at(1),
            at(2),
            at(3),
            at(4),
            mib(most),
            mib(self.slope()),
            self.cpu.as_secs_f64(),
            self.cpu.as_secs_f64() * 1e6 / messages.max(1) as f64
        )
    }

    /// Over the second half it grows by less than a tenth, or hardly at all.
    pub(crate) fn must_be_flat(&self) {
        if self.resident.len() < JUDGED_FROM {
            return;
        }
        let minutes = self.resident.len() as f64 / 2.0 / 60.0;
        let (grown, middle) = (self.slope() * minutes, self.resident[self.resident.len() / 2]);
        assert!(grown < (middle / 10.0).max(2048.0), "{grown:.0} KiB more over the second half, from {middle:.0} KiB");
    }
}
