//! SIGSTOP for longer than every timeout of the link: what a laptop's lid does.
use crate::common::has;
use crate::say;
use crate::world::World;

#[test]
fn a_process_that_was_suspended_for_longer_than_its_keep_alive_goes_on_as_if_nothing_had_been() {
    if !has("mosquitto", "a_process_that_was_suspended") {
        return;
    }
    let mut world = World::new();
    world.rest = ", keep_alive: 1s, ack_timeout: 1s";
    let bridge = world.start(None).unwrap();
    world.orders.until_acknowledged(200);
    bridge.process.signal(libc::SIGSTOP);
    // Of the bridge's timeouts none is longer than what the remote waits.
    assert!(world.mosquitto.process.line("Client bridge has exceeded timeout").is_some());
    let before = world.acknowledged();
    bridge.process.signal(libc::SIGCONT);
    world.orders.until_acknowledged(before + 200);
    assert!(bridge.process.line("no link to").is_some(), "it has noticed");
    let verdict = world.judge(Some(bridge));
    say(&format!("suspend: {verdict}\n"));
    assert!(verdict.is_clean(), "{verdict:#?}");
}
