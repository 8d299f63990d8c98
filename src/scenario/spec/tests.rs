use std::path::Path;
use std::time::Duration;

use super::*;
use crate::scenario::plan::{
    Acknowledgement, Acknowledgements, Direction, Fault, FaultKind, Parameters, Side, SubjectKind, Via, When,
};

const LOAD: &str = "load:\n  - { topic: t, qps: 5 }\n";
const PUBLISH: &str = "timeline:\n  - { at: 0s, do: publish, for: 10s }\n";

fn plan(text: &str) -> Plan {
    read(&Document::from_text("s.yaml", text), &[""; 0]).unwrap()
}

fn wrong(text: &str) -> String {
    read(&Document::from_text("s.yaml", text), &[""; 0]).unwrap_err().to_string()
}

/// What is said about a timeline that publishes, and has these steps from line 5 on.
fn wrong_step(steps: &str) -> String {
    wrong(&format!("{LOAD}{PUBLISH}{steps}"))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_original_report_means_what_it_meant() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/silent-cut-100s.yaml");
    let plan = load(&file, &["mqtt-bridge", "mosquitto"]).unwrap();
    let through_the_bridge = plan.loads.iter().filter(|load| load.via == Via::Bridge);
    assert_eq!(through_the_bridge.map(|load| load.count()).sum::<u64>(), 1170);
    assert_eq!(plan.loads[5].via, Via::Remote);
    let fault = &plan.faults[0];
    assert_eq!(
        (fault.kind, fault.on, fault.start, fault.end),
        (FaultKind::Disconnect, Side::Remote, seconds(10), seconds(110))
    );
    assert_eq!((plan.end, plan.settle, plan.bridge.keep_alive), (seconds(130), seconds(60), seconds(3)));
    let kinds: Vec<SubjectKind> = plan.subjects.iter().map(|subject| subject.kind).collect();
    assert_eq!(kinds, [SubjectKind::MqttBridge, SubjectKind::Mosquitto]);
    let read_back: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(read_back, plan);
}

#[test]
fn what_is_absent_has_a_default() {
    let plan = plan(&format!("{LOAD}{PUBLISH}"));
    assert_eq!((plan.name.as_str(), plan.seed, plan.settle), ("s", 1, seconds(60)));
    assert_eq!((plan.loads[0].qos, plan.loads[0].payload, plan.loads[0].via), (1, 64, Via::Bridge));
    assert_eq!((plan.subjects.len(), plan.subjects[0].name.as_str()), (1, "mqtt-bridge"));
    assert_eq!((plan.expect.lost, plan.expect.duplicated_qos2, plan.expect.out_of_order), (Some(0), Some(0), Some(0)));
    assert_eq!((plan.expect.duplicated_qos1, plan.expect.drained_within), (None, None));
}

#[test]
fn any_counts_without_judging() {
    let plan = plan(&format!("{LOAD}{PUBLISH}expect: {{ lost: any, duplicated: {{ qos1: 3 }} }}\n"));
    assert_eq!((plan.expect.lost, plan.expect.duplicated_qos1, plan.expect.out_of_order), (None, Some(3), Some(0)));
}

#[test]
fn seeded_kills_are_apart_within_bounds_and_the_same_every_time() {
    let text = format!("{LOAD}{PUBLISH}  - {{ between: [15s, 75s], times: 10, do: kill, for: 1s }}\n");
    let kills = plan(&text).faults;
    assert_eq!(kills.len(), 10);
    assert!(kills.iter().all(|kill| kill.on == Side::Bridge && kill.end - kill.start == seconds(1)));
    assert!(kills[0].start >= seconds(15) && kills[9].start <= seconds(75));
    assert!(kills.windows(2).all(|pair| pair[1].start >= pair[0].end + seconds(1)));
    assert_eq!(plan(&text).faults, kills);
    assert_ne!(plan(&format!("seed: 2\n{text}")).faults, kills);
}

#[test]
fn several_publish_steps_choose_loads_and_counts() {
    let plan = plan(
        "load:\n  - { topic: a, qps: 3 }\n  - { topic: b }\ntimeline:\n  \
         - { at: 0s, do: publish, for: 2s }\n  - { at: 20s, do: publish, count: 10, load: [a] }\n",
    );
    assert_eq!((plan.loads[0].count(), plan.loads[1].count()), (16, 2));
    assert_eq!(plan.loads[0].intended(6), Some(seconds(20)));
    assert!(plan.end > seconds(23) && plan.end < seconds(24));
}

#[test]
fn subjects_are_taken_by_name_by_kind_or_added() {
    let document = Document::from_text(
        "s.yaml",
        &format!(
            "subjects:\n  - {{ kind: mosquitto }}\n  - {{ kind: mosquitto, settings: {{ max_queued_messages: 100 }} }}\n  \
             - {{ kind: nanomq-model, name: original }}\n{LOAD}{PUBLISH}"
        ),
    );
    let names = |asked: &[&str]| -> Result<Vec<String>, String> {
        let plan = read(&document, asked).map_err(|error| error.to_string())?;
        Ok(plan.subjects.into_iter().map(|subject| subject.name).collect())
    };
    assert_eq!(names(&["mosquitto-2"]).unwrap(), ["mosquitto-2"]);
    assert_eq!(
        names(&["mqtt-bridge", "mosquitto", "mqtt-bridge"]).unwrap(),
        ["mosquitto-1", "mosquitto-2", "mqtt-bridge"]
    );
    let settings = read(&document, &["mosquitto-2"]).unwrap().subjects.remove(0).settings;
    assert_eq!(settings["max_queued_messages"], "100");
    let said = names(&["mosquito"]).unwrap_err();
    assert!(said.starts_with("--subject mosquito: there is no such subject, did you mean mosquitto?"), "{said}");
    let said = names(&["command"]).unwrap_err();
    assert!(said.starts_with("--subject command: this version cannot run it unless the scenario lists it"), "{said}");
    assert_eq!(names(&[]).unwrap(), ["mosquitto-1", "mosquitto-2", "original"]);
}

#[test]
fn subjects_need_names_of_their_own() {
    let with = |subjects: &str| wrong(&format!("subjects:\n{subjects}{LOAD}{PUBLISH}"));
    let said = with("  - { kind: mosquitto }\n  - { kind: mqtt-bridge, name: mosquitto }\n");
    assert_eq!(said, "s.yaml:3: subjects[1].name: `mosquitto` is the name of another subject: each needs its own");
    assert!(with("  - { kind: mosquitto, name: a/b }\n").contains("cannot name a folder"));
    assert!(with("  - { kind: mosquito }\n").contains("did you mean `mosquitto`?"));
    let said = with("  - { kind: mosquitto, config: absent.conf }\n");
    assert!(said.starts_with("s.yaml:2: subjects[0].config: there is no file `absent.conf`"), "{said}");
}

#[test]
fn a_wrong_load_is_an_error() {
    let with = |load: &str| wrong(&format!("load:\n  - {{ topic: ok }}\n  - {{ {load} }}\n{PUBLISH}"));
    for (load, expected) in [
        (
            "topic: t, qps: -5",
            "s.yaml:3: load[1].qps: -5 is not a rate: write messages per second, above 0, at most 100000",
        ),
        ("topic: t, qps: 0", "s.yaml:3: load[1].qps: 0 is not a rate"),
        ("topic: t, qps: .nan", "s.yaml:3: load[1].qps: NaN is not a rate"),
        ("topic: t, qps: .inf", "s.yaml:3: load[1].qps: inf is not a rate"),
        ("topic: t, qps: five", "s.yaml:3: load[1].qps: invalid type"),
        ("topic: t, qos: 3", "s.yaml:3: load[1].qos: 3 is not a QoS: write 0, 1 or 2"),
        ("topic: t, qos: -1", "s.yaml:3: load[1].qos: invalid type"),
        ("topic: 'plant/+/x'", "s.yaml:3: load[1].topic: `plant/+/x` is not a Topic Name: a publisher cannot use"),
        ("topic: ''", "s.yaml:3: load[1].topic: `` is not a Topic Name: it is empty"),
        ("topic: $SYS/x", "s.yaml:3: load[1].topic: `$SYS/x` is not a Topic Name"),
        (
            "topic: t, payload: 16B",
            "s.yaml:3: load[1].payload: 16B is below the 40 bytes of the identity in every payload: write 40B",
        ),
        ("topic: t, payload: 64", "s.yaml:3: load[1].payload: `64` is not a size"),
        ("topic: t, payload: 1GiB", "s.yaml:3: load[1].payload: 1GiB does not fit an MQTT packet"),
        ("topic: t, qsp: 5", "s.yaml:3: load[1].qsp: unknown key `qsp`: did you mean `qps`?"),
        ("topic: ok, via: remote", "s.yaml:3: load[1].via: `ok` would be bridged in both directions"),
        ("topic: ok, qos: 2", "s.yaml:3: load[1].qos: `ok` is there with QoS 1 already"),
    ] {
        let said = with(load);
        assert!(said.starts_with(expected), "{load}: {said}");
    }
    assert!(wrong(&format!("load: []\n{PUBLISH}")).starts_with("s.yaml:1: load: nothing to publish"));
    assert!(wrong(PUBLISH).contains("missing field `load`"));
}

#[test]
fn a_wrong_step_is_an_error() {
    for (step, expected) in [
        ("at: -5s, do: cut, for: 1s", "s.yaml:5: timeline[1].at: `-5s` is before the start: the timeline begins at 0s"),
        ("at: -5, do: cut, for: 1s", "s.yaml:5: timeline[1].at: `-5` is before the start"),
        ("at: 5, do: cut, for: 1s", "s.yaml:5: timeline[1].at: `5` is not a duration: write a number and one of"),
        ("at: 1s, do: cutt, for: 1s", "s.yaml:5: timeline[1].do: unknown value `cutt`: did you mean `cut`?"),
        ("at: 1s, do: publsh, for: 1s", "s.yaml:5: timeline[1].do: unknown value `publsh`: did you mean `publish`?"),
        ("at: 1s, do: cut", "s.yaml:5: timeline[1].for: it is missing: cut needs a heal"),
        ("at: 1s, do: cut, for: 0s", "s.yaml:5: timeline[1].for: 0 is no cut"),
        ("do: cut, for: 1s", "s.yaml:5: timeline[1].at: at or between is missing"),
        ("at: 1s, between: [1s, 2s], do: kill", "s.yaml:5: timeline[1].between: at says when already"),
        ("between: [2s, 1s], do: kill", "s.yaml:5: timeline[1].between: 1s is not after 2s"),
        ("between: [1s, 9s], times: 0, do: kill", "s.yaml:5: timeline[1].times: 0 is too small"),
        ("between: [1s, 9s], times: 9, do: kill, for: 1s", "s.yaml:5: timeline[1].times: 9 times at least 2s apart"),
        ("at: 1s, times: 2, do: kill", "s.yaml:5: timeline[1].times: it needs between or period"),
        ("at: 1s, do: restart, for: 1s", "s.yaml:5: timeline[1].for: restart starts again at once"),
        ("at: 1s, do: cut, for: 1s, load: [t]", "s.yaml:5: timeline[1].load: cut has no load"),
        ("at: 1s, do: cut, for: 1s, count: 2", "s.yaml:5: timeline[1].count: cut has no count"),
        ("at: 1s, do: cut, for: 1s, on: broker", "s.yaml:5: timeline[1].on: unknown value `broker`"),
        ("at: 1s, do: cut, for: 365d", "s.yaml:5: timeline[1]: longer than 30d cannot be tried"),
        (
            "when: { drained: 20 }, do: cut, for: 1s",
            "s.yaml:5: timeline[1].when.drained: `20` is no share: write above 0%",
        ),
        ("when: { drained: 0.5% }, do: cut, for: 1s", "s.yaml:5: timeline[1].when.drained: 0.5% is no whole number"),
        ("when: { filled: 20% }, do: cut, for: 1s", "s.yaml:5: timeline[1].when.filled: unknown key `filled`"),
        (
            "when: { drained: 20% }, at: 1s, do: cut, for: 1s",
            "s.yaml:5: timeline[1].when: at or between says when already",
        ),
        ("when: { drained: 20% }, times: 2, do: cut, for: 1s", "s.yaml:5: timeline[1].times: what waits for progress"),
        ("when: { drained: 20% }, do: publish, for: 1s", "s.yaml:5: timeline[1].when: publish has a fixed moment"),
        (
            "at: 1s, times: 2, period: 1s, do: cut, for: 1s",
            "s.yaml:5: timeline[1].period: the next one would begin before",
        ),
        ("at: 1s, period: 1s, do: cut, for: 1s", "s.yaml:5: timeline[1].period: it needs times"),
        ("between: [1s, 9s], spread: 1s, do: cut, for: 1s", "s.yaml:5: timeline[1].spread: between has seeded moments"),
        (
            "at: 1s, do: cut, for: 1s, rate: 8kbit",
            "s.yaml:5: timeline[1].rate: cut has no rate (it has none of its own)",
        ),
        (
            "at: 1s, do: delay, for: 1s, rate: 8kbit",
            "s.yaml:5: timeline[1].rate: delay has no rate (it has by, jitter,",
        ),
        ("at: 15s, do: publish, for: 1s, share: 3%", "s.yaml:5: timeline[1].share: publish has no share"),
        ("at: 1s, do: delay, for: 1s", "s.yaml:5: timeline[1].by: it is missing"),
        ("at: 1s, do: throttle, for: 1s", "s.yaml:5: timeline[1].rate: it is missing"),
        ("at: 1s, do: throttle, for: 1s, rate: 8", "s.yaml:5: timeline[1].rate: `8` is no rate of data"),
        ("at: 1s, do: loss, for: 1s", "s.yaml:5: timeline[1].share: it is missing"),
        ("at: 1s, do: loss, for: 1s, share: 100%", "s.yaml:5: timeline[1].share: 100% loss is a cut"),
        ("at: 1s, do: loss, for: 1s, share: 101%", "s.yaml:5: timeline[1].share: `101%` is no share"),
        ("at: 1s, do: drop_packets, for: 1s", "s.yaml:5: timeline[1].packets: it is missing"),
        ("at: 1s, do: drop_packets, for: 1s, packets: []", "s.yaml:5: timeline[1].packets: it is empty"),
        (
            "at: 1s, do: drop_packets, for: 1s, packets: [publish]",
            "s.yaml:5: timeline[1].packets[0]: unknown value `publish`",
        ),
        ("at: 1s, do: drop_packets, for: 1s, packets: [puback], every: 0", "s.yaml:5: timeline[1].every: 0 is none"),
        ("at: 1s, do: delay, for: 1s, by: 1s, every: 2", "s.yaml:5: timeline[1].every: it needs packets"),
        ("at: 1s, do: half_open", "s.yaml:5: timeline[1].for: it is missing: half_open needs a heal"),
        ("at: 1s, do: half_open, for: 1s, passes: both", "s.yaml:5: timeline[1].passes: unknown value `both`"),
        ("at: 1s, do: stop, session: lost", "s.yaml:5: timeline[1].session: it is the remote that has sessions"),
        ("at: 1s, do: cut, for: 1s, session: lost", "s.yaml:5: timeline[1].session: cut has no session"),
        ("at: 1s, do: fill_disk", "s.yaml:5: timeline[1].for: it is missing: fill_disk needs a heal"),
        ("at: 1s, do: fill_disk, for: 1s, on: remote", "s.yaml:5: timeline[1].on: only the disk of the bridge"),
        ("at: 5s, do: publish, for: 1s", "s.yaml:5: timeline[1].at: `t` is published by another step at that time"),
        ("at: 15s, do: publish", "s.yaml:5: timeline[1].for: for or count is missing"),
        ("at: 15s, do: publish, for: 1s, count: 1", "s.yaml:5: timeline[1].count: for says how many already"),
        ("at: 15s, do: publish, count: 0", "s.yaml:5: timeline[1].count: 0 would publish nothing"),
        (
            "at: 15s, do: publish, for: 1s, load: [x]",
            "s.yaml:5: timeline[1].load[0]: no load has the topic `x` (there are: t)",
        ),
        ("between: [1s, 2s], do: publish, for: 1s", "s.yaml:5: timeline[1].between: publish has no seeded moments"),
        ("at: 15s, times: 2, do: publish, for: 1s", "s.yaml:5: timeline[1].times: publish happens once"),
        ("at: 1s, do: publish, for: 1s, on: remote", "s.yaml:5: timeline[1].on: publish has no side"),
    ] {
        let said = wrong_step(&format!("  - {{ {step} }}\n"));
        assert!(said.starts_with(expected), "{step}: {said}");
    }
}

#[test]
fn contradictory_faults_are_an_error_and_others_are_not() {
    let said = wrong_step("  - { at: 1s, do: cut, for: 5s }\n  - { at: 3s, do: refuse, for: 1s }\n");
    let expected = "s.yaml:6: timeline[2]: refuse at 3s falls into the cut from 1s to 6s: \
                    one fault at a time on the same side; move one of them";
    assert_eq!(said, expected);
    for contradictory in [
        "  - { at: 1s, do: kill, for: 5s }\n  - { at: 3s, do: kill }\n",
        "  - { at: 1s, do: kill, for: 5s }\n  - { at: 3s, do: restart }\n",
        "  - { at: 1s, do: restart }\n  - { at: 1s, do: kill }\n",
        "  - { at: 1s, do: pause, for: 5s }\n  - { at: 3s, do: kill, on: remote }\n",
        "  - { at: 1s, do: cut, for: 5s }\n  - { at: 3s, do: stop, on: remote }\n",
        "  - { at: 1s, do: delay, by: 1s, for: 5s }\n  - { at: 3s, do: delay, by: 2s, packets: [puback], for: 1s }\n",
        "  - { at: 1s, do: fill_disk, for: 5s }\n  - { at: 2s, do: fill_disk, for: 5s }\n",
    ] {
        let said = wrong_step(contradictory);
        assert!(said.starts_with("s.yaml:6: timeline[2]: ") && said.contains("falls into"), "{contradictory}{said}");
    }
    for peaceful in [
        "  - { at: 1s, do: cut, for: 5s }\n  - { at: 3s, do: kill, for: 1s }\n",
        "  - { at: 1s, do: cut, for: 2s }\n  - { at: 3s, do: refuse, for: 1s }\n",
        "  - { at: 1s, do: pause, for: 5s }\n  - { at: 3s, do: kill, on: bridge }\n",
        "  - { at: 1s, do: delay, by: 1s, for: 5s }\n  - { at: 3s, do: cut, for: 1s }\n",
        "  - { at: 1s, do: drop_packets, packets: [puback], for: 5s }\n  \
         - { at: 3s, do: drop_packets, packets: [pubrec], for: 5s }\n",
        "  - { at: 1s, do: cut, for: 5s }\n  - { when: { drained: 1% }, do: cut, for: 5s }\n",
        "  - { at: 1s, do: cut, for: 5s }\n  - { at: 2s, do: fill_disk, for: 5s }\n",
    ] {
        assert_eq!(plan(&format!("{LOAD}{PUBLISH}{peaceful}")).faults.len(), 2);
    }
}

#[test]
fn the_rest_of_the_file_is_checked_too() {
    let valid = format!("{LOAD}{PUBLISH}");
    for (line, expected) in [
        ("environment: lokal", "s.yaml:5: environment: unknown value `lokal`: did you mean `local`?"),
        ("subject: []", "s.yaml:5: subject: unknown key `subject`: did you mean `subjects`?"),
        ("subjects: []", "s.yaml:5: subjects: no bridge to try"),
        ("settle: 60", "s.yaml:5: settle: `60` is not a duration"),
        ("bridge: { keep_alive: 500ms }", "s.yaml:5: bridge.keep_alive: Keep Alive has whole seconds"),
        ("bridge: { protocol: 3 }", "s.yaml:5: bridge.protocol: write 5, or 4 for MQTT 3.1.1"),
        ("bridge: { reconnect: { min: 2s } }", "s.yaml:5: bridge.reconnect: min is above max"),
        ("bridge: { window: 0 }", "s.yaml:5: bridge.window: 0 would send nothing"),
        ("bridge: { connect_timeout: 0s }", "s.yaml:5: bridge.connect_timeout: 0 leaves no time"),
        ("expect: { lost: -1 }", "s.yaml:5: expect.lost: `-1` is no number of messages"),
        ("expect: { lost: none }", "s.yaml:5: expect.lost: `none` is no number of messages"),
        ("expect: { drained_within: 1s }", "s.yaml:5: expect.drained_within: there is no fault in the timeline"),
        ("expect: { first_delivery_within: 1s }", "s.yaml:5: expect.first_delivery_within: there is no fault"),
    ] {
        let said = wrong(&format!("{valid}{line}\n"));
        assert!(said.starts_with(expected), "{line}: {said}");
    }
    assert!(
        wrong(&format!("{LOAD}timeline:\n  - {{ at: 1s, do: restart }}\n"))
            .starts_with("s.yaml:4: timeline: nothing is published")
    );
    let said = wrong(
        "load:\n  - { topic: a }\n  - { topic: b }\ntimeline:\n  - { at: 0s, do: publish, for: 1s, load: [a] }\n",
    );
    assert_eq!(said, "s.yaml:3: load[1].topic: `b` is in no publish step: add it to one, or remove it");
    let said = wrong("load:\n  - { topic: a, qps: 100000 }\ntimeline:\n  - { at: 0s, do: publish, for: 1d }\n");
    assert!(said.starts_with("s.yaml:2: load: 8640000000 messages in all are too many"), "{said}");
    let said = load(Path::new("absent.yaml"), &[""; 0]).unwrap_err().to_string();
    assert!(said.starts_with("absent.yaml: cannot be read: "), "{said}");
}

#[test]
fn every_fault_has_its_parameters_and_its_side() {
    let of = |step: &str| plan(&format!("{LOAD}{PUBLISH}  - {{ {step} }}\n")).faults.remove(0);
    let only = |packets: &[Acknowledgement], every| Acknowledgements { packets: packets.to_vec(), every };
    for (step, on, parameters) in [
        ("at: 1s, do: half_open, for: 1s", Side::Remote, Parameters::HalfOpen { passes: Direction::ToRemote }),
        ("at: 1s, do: stop, for: 1s", Side::Bridge, Parameters::None),
        ("at: 1s, do: restart, on: remote, session: lost", Side::Remote, Parameters::Session { lost: true }),
        ("at: 1s, do: kill, on: remote", Side::Remote, Parameters::Session { lost: false }),
        ("at: 1s, do: throttle, rate: 8kbit, for: 1s", Side::Remote, Parameters::Throttle { bytes_per_second: 1000 }),
        ("at: 1s, do: loss, share: 30%, for: 1s", Side::Remote, Parameters::Loss { percent: 30.0 }),
        ("at: 1s, do: fill_disk, size: 1MiB, for: 1s", Side::Bridge, Parameters::FillDisk { size: Some(1 << 20) }),
        (
            "at: 1s, do: drop_packets, packets: [pubrec, puback, pubrec], every: 50, for: 1s",
            Side::Remote,
            Parameters::DropPackets { only: only(&[Acknowledgement::Puback, Acknowledgement::Pubrec], 50) },
        ),
        (
            "at: 1s, do: delay, by: 2s, jitter: 1s, packets: [pubcomp], for: 1s",
            Side::Remote,
            Parameters::Delay { by: seconds(2), jitter: seconds(1), only: Some(only(&[Acknowledgement::Pubcomp], 1)) },
        ),
    ] {
        let fault = of(step);
        assert_eq!((fault.on, &fault.parameters), (on, &parameters), "{step}");
        assert_eq!(serde_json::from_str::<Fault>(&serde_json::to_string(&fault).unwrap()).unwrap(), fault);
    }
}

#[test]
fn what_waits_for_progress_has_no_moment_and_does_not_lengthen_the_timeline() {
    let steps = "  - { when: { drained: 20% }, do: cut, for: 90s }\n  - { at: 1s, do: stop, on: remote, for: 5s }\n";
    let plan = plan(&format!("{LOAD}{PUBLISH}{steps}"));
    assert_eq!((plan.faults[1].when, plan.faults[1].length()), (Some(When::Drained(20)), seconds(90)));
    assert_eq!((plan.faults[0].when, plan.end), (None, seconds(10)));
}

#[test]
fn a_period_repeats_a_fault_with_a_seeded_spread() {
    let text = format!("{LOAD}{PUBLISH}  - {{ at: 10s, times: 10, period: 40s, spread: 7s, do: cut, for: 3s }}\n");
    let faults = plan(&text).faults;
    assert_eq!(faults.len(), 10);
    for (fault, slot) in faults.iter().zip(0..) {
        let slot = seconds(10 + 40 * slot);
        assert!((slot..=slot + seconds(7)).contains(&fault.start) && fault.length() == seconds(3), "{fault:?}");
    }
    assert_eq!(plan(&text).faults, faults);
    assert_ne!(plan(&format!("seed: 2\n{text}")).faults, faults);
}

#[test]
fn a_remote_that_is_stopped_takes_no_publishers_with_it() {
    let said = wrong(&format!(
        "load:\n  - {{ topic: t }}\n  - {{ topic: u, via: remote }}\n{PUBLISH}  - {{ at: 1s, do: stop, on: remote }}\n"
    ));
    assert!(said.starts_with("s.yaml:6: timeline[1].on: it would take the publishers at the remote"), "{said}");
}
