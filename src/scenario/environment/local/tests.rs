use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;

use super::super::suite::{self, Examined};
use super::super::{World, approximations, log, process, proxy};
use super::*;
use crate::scenario::examiner::Examiner;
use crate::scenario::history::Event;
use crate::scenario::recorder::tests::recording;
use crate::scenario::story::plan;

fn faults(timeline: &str) -> Plan {
    plan(&format!("load:\n  - {{ topic: a, qps: 1 }}\ntimeline:\n  - {{ at: 0s, do: publish, for: 9s }}\n{timeline}"))
}

#[test]
fn what_it_cannot_do_is_an_error_and_what_it_approximates_is_listed_once() {
    let local = Local::new(PathBuf::new());
    let plan = faults(
        "  - { at: 1s, do: disconnect, for: 1s }\n  - { at: 3s, do: cut, for: 1s }\n  - { at: 5s, do: disconnect, for: 1s }\n",
    );
    let approximated = approximations(&local, &plan).unwrap();
    assert_eq!(approximated.len(), 1);
    assert!(approximated[0].starts_with("disconnect: "), "{approximated:?}");
    let error = approximations(&Incapable, &plan).unwrap_err().to_string();
    assert_eq!(error, "the environment incapable cannot do disconnect on Remote: it can do nothing");
}

struct Incapable;

impl Environment for Incapable {
    type World = LocalWorld;
    fn name(&self) -> &'static str {
        "incapable"
    }
    fn support(&self, _: &Fault) -> Support {
        Support::Unsupported("it can do nothing")
    }
    fn check(&self, _: &Plan, _: &SubjectPlan) -> Result<(), EnvironmentError> {
        Ok(())
    }
    async fn prepare(&self, _: Request<'_>) -> Result<LocalWorld, EnvironmentError> {
        unreachable!()
    }
}

impl Examined for LocalWorld {
    async fn connection(&self) -> proxy::probe::Seen {
        proxy::probe::connect(self.door()).await
    }

    async fn resolves(&self) -> Option<bool> {
        None
    }

    fn traces(&self) -> Box<dyn Fn() -> Vec<String> + Send> {
        let places = [self.door(), self.remote(), self.listener()];
        Box::new(move || {
            let open = places.iter().filter(|place| std::net::TcpStream::connect(place).is_ok());
            open.map(ToString::to_string).collect()
        })
    }
}

#[tokio::test]
async fn the_suite_of_every_environment() {
    if installed("the_suite_of_every_environment") {
        suite::examine(&Local::new(PathBuf::new())).await;
    }
}

/// Whether mosquitto is there; says aloud where it is not.
fn installed(test: &str) -> bool {
    let found = programs::find("mosquitto").is_some();
    assert!(found || std::env::var_os("CI").is_none(), "{test}: mosquitto is missing on CI");
    if !found {
        // Not eprintln: that is shown only for a test that fails.
        std::io::stderr().write_all(format!("SKIPPED {test}: mosquitto is not installed\n").as_bytes()).unwrap();
    }
    found
}

/// A subject that ends at once: its last line says why, and nothing is left running.
#[tokio::test]
async fn a_subject_that_does_not_start_is_named_with_its_last_lines() {
    if !installed("a_subject_that_does_not_start_is_named_with_its_last_lines") {
        return;
    }
    let text = "subjects:\n  - { kind: mosquitto, settings: { nonsense: 1 } }\nload:\n  - { topic: a, qps: 1 }\n\
        timeline:\n  - { at: 0s, do: publish, for: 1s }\n";
    let plan = plan(text);
    let (recording, folder) = recording(&plan);
    let recorder = recording.recorder();
    let examiner = Examiner::new(1);
    let request = Request {
        plan: &plan,
        subject: &plan.subjects[0],
        folder: folder.path(),
        recorder: &recorder,
        examiner: &examiner,
    };
    let mut world = Local::new(PathBuf::new()).prepare(request).await.unwrap();
    world.open_link().await.unwrap();
    let error = world.start_subject().await.unwrap_err().to_string();
    assert!(error.contains("ended before it was ready (exit code"), "{error}");
    assert!(error.contains("nonsense"), "{error}");
    world.stop_remote().await;
    recording.finish().unwrap();
    let history = std::fs::read_to_string(folder.path().join("history.jsonl")).unwrap();
    assert_eq!(history.matches("process_started").count(), 2);
    assert_eq!(history.matches("process_ended").count(), 2);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = super::super::proxy::Proxy::open(address, "").err().unwrap();
    assert!(error.to_string().contains(&format!("cannot listen on {address}")), "{error}");
}

#[tokio::test]
async fn the_end_of_a_process_is_recorded_with_who_wanted_it() {
    let plan = faults("");
    let (recording, folder) = recording(&plan);
    let log = log::Log::create(
        crate::scenario::history::Role::Subject,
        &folder.path().join("subject.log"),
        &recording.recorder(),
    )
    .unwrap();
    let start = |script: &str| {
        let mut command = tokio::process::Command::new("/bin/sh");
        command.args(["-c", script]);
        process::Process::start(command, &log).unwrap()
    };
    assert_eq!(start("echo hello; echo world >&2; exit 3").end().await, "exit code 3");
    assert_eq!(start("sleep 60").kill().await, "SIGKILL");
    assert_eq!(start("exec sleep 60").terminate(std::time::Duration::from_secs(5)).await, Ok("SIGTERM".into()));
    let stubborn = start("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    while log.tail().last().is_none_or(|line| line != "ready") {
        tokio::task::yield_now().await;
    }
    let patience = std::time::Duration::from_millis(200);
    assert_eq!(stubborn.terminate(patience).await, Err("SIGKILL".into()));
    recording.finish().unwrap();
    let history = std::fs::read_to_string(folder.path().join("history.jsonl")).unwrap();
    let records = history.lines().map(|line| serde_json::from_str::<crate::scenario::history::Record>(line).unwrap());
    let wanted: Vec<bool> = records
        .filter_map(|record| match record.event {
            Event::ProcessEnded { wanted, .. } => Some(wanted),
            _ => None,
        })
        .collect();
    assert_eq!(wanted, [false, true, true, true]);
    assert!(history.contains("hello") && history.contains("world"));
}
