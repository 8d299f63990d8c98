//! A child process whose log can be waited for; the bridge is one.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::PATIENCE;

#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

/// A child that is killed when dropped.
pub struct Process {
    child: Child,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Log::default());
        let to = log.clone();
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                to.lines.lock().unwrap().0.push(line);
                to.more.notify_all();
            }
            to.lines.lock().unwrap().1 = true;
            to.more.notify_all();
        });
        Self { child, log, reader: Some(reader) }
    }

    /// Waits for the first line that holds this text. `None`: it has ended without.
    pub fn line(&self, text: &str) -> Option<String> {
        let mut seen = 0;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.0[seen..].iter().find(|line| line.contains(text)) {
                return Some(line.clone());
            }
            if lines.1 {
                return None;
            }
            seen = lines.0.len();
            let waited = self.log.more.wait_timeout(lines, PATIENCE * 2).unwrap();
            lines = waited.0;
            assert!(!waited.1.timed_out(), "no line with `{text}`: {}", lines.0.join("\n"));
        }
    }

    pub fn log(&self) -> String {
        self.log.lines.lock().unwrap().0.join("\n")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: kill touches no memory of ours; the child is not waited for yet, so its id is still its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as libc::pid_t, signal) }, 0);
    }

    /// Waits until it ends by itself. `None`: it has not in that time.
    pub fn ended_within(&mut self, time: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + time;
        // Its log ends with it.
        let mut lines = self.log.lines.lock().unwrap();
        while !lines.1 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            lines = self.log.more.wait_timeout(lines, left).unwrap().0;
        }
        drop(lines);
        Some(self.child.wait().unwrap())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; its exit status and its log.
    pub fn terminate(mut self) -> (ExitStatus, String) {
        self.signal(libc::SIGTERM);
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        (status, self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address of one's own: a port that a killed process had may be given to another test's at once, and a client
/// that tries it again would talk to that.
pub fn loopback() -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::new(127, fastrand::u8(1..=254), fastrand::u8(1..=254), fastrand::u8(1..=254))
}

/// A running bridge, killed when dropped.
pub struct Bridge {
    pub process: Process,
    pub address: SocketAddr,
}

impl Bridge {
    /// Starts one on a port that the kernel chooses, and waits until it says which. `rest` is its configuration but for
    /// the listener.
    pub fn start(folder: &Path, rest: &str) -> Self {
        Self::start_with(folder, rest, &[]).unwrap_or_else(|log| panic!("the bridge ended: {log}"))
    }

    /// The same at an address.
    pub fn start_at(address: &str, folder: &Path, rest: &str) -> Self {
        Self::started(Self::spawn_at(address, folder, rest, &[]))
            .unwrap_or_else(|log| panic!("the bridge ended: {log}"))
    }

    /// The same, in an environment of its own; gives its log where it ends first.
    pub fn start_with(folder: &Path, rest: &str, environment: &[(&str, &str)]) -> Result<Self, String> {
        Self::started(Self::spawn(folder, rest, environment))
    }

    fn started(process: Process) -> Result<Self, String> {
        match process.line("listening on ") {
            Some(line) => {
                let address = line.rsplit(' ').next().unwrap().parse().unwrap();
                Ok(Self { process, address })
            }
            None => Err(process.log()),
        }
    }

    /// Starts one and does not wait.
    pub fn spawn(folder: &Path, rest: &str, environment: &[(&str, &str)]) -> Process {
        Self::spawn_at(&format!("{}:0", loopback()), folder, rest, environment)
    }

    fn spawn_at(address: &str, folder: &Path, rest: &str, environment: &[(&str, &str)]) -> Process {
        let file = folder.join("bridge.yaml");
        std::fs::write(&file, format!("listeners: [{{ bind: \"{address}\" }}]\n{rest}")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"));
        command.args(["run", "--config"]).arg(&file).envs(environment.iter().copied());
        Process::start(&mut command)
    }

    pub fn kill(mut self) {
        self.process.kill();
    }

    /// SIGTERM; its exit status and its log.
    pub fn terminate(self) -> (ExitStatus, String) {
        self.process.terminate()
    }

    /// A page of its metrics server (`metrics: { bind: 127.0.0.1:0 }`).
    pub fn page(&self, path: &str) -> String {
        let line = self.process.line("metrics on http://").unwrap();
        let address = line.rsplit("http://").next().unwrap().trim_end_matches("/metrics");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: bridge\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// A sample of /metrics by its name, without prefix and labels of the bridge: `messages_delivered_total`.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.page("/metrics");
        let named = |line: &&str| {
            line.strip_prefix("mqtt_bridge_")
                .and_then(|rest| rest.strip_prefix(name))
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        let samples: Vec<&str> = text.lines().filter(named).collect();
        assert!(!samples.is_empty(), "no {name} in\n{text}");
        samples.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Waits until a sample has this value.
    pub fn until_metric(&self, name: &str, value: u64) {
        let until = Instant::now() + PATIENCE * 2;
        loop {
            let found = self.metric(name);
            if found == value {
                return;
            }
            assert!(Instant::now() < until, "{name} is {found} and not {value}: {}", self.process.log());
            // Nothing else says that a counter has moved.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
