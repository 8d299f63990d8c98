//! What the broker does not do yet.
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::common::PATIENCE;

/// Tests that must fail: each passes only while the broker does NOT do what it says, and turns red with the feature. Its
/// line is then to be taken out.
pub(crate) const PENDING: &[&str] = &[
    "connect::connack_says_what_the_server_can",
    "errors::acknowledgements_that_are_malformed_are_refused",
    "paho::pahos_clients_get_what_is_retained",
    "paho::pahos_clients_share_a_subscription",
    "retained::a_message_without_retain_leaves_what_is_retained",
    "retained::a_retained_message_keeps_its_properties_and_expires",
    "retained::a_retained_message_of_no_bytes_clears_the_topic",
    "retained::retain_handling_0_brings_it_each_time",
    "retained::retain_handling_1_brings_it_to_a_new_subscription_alone",
    "retained::retain_handling_2_brings_nothing",
    "retained::retained_messages_come_for_wildcards",
    "retained::the_last_retained_message_comes_with_a_new_subscription",
    "retained::what_is_retained_does_not_end_with_its_publishers_session",
    "retained::what_is_retained_survives_a_kill",
    "session::a_session_survives_a_kill_with_its_subscriptions_and_messages",
    "shared::a_member_gets_its_messages_at_its_own_qos",
    "shared::a_member_that_leaves_leaves_the_others_its_share",
    "shared::a_message_that_a_member_refuses_goes_to_nobody_else",
    "shared::an_open_qos_2_delivery_of_a_session_that_ends_goes_to_nobody_else",
    "shared::an_open_qos_2_delivery_stays_with_its_client",
    "shared::each_message_goes_to_one_of_the_group",
    "shared::the_name_of_a_group_must_be_one",
    "subscribe::a_subscription_to_the_same_filter_replaces_the_one_before",
    "subscribe::an_invalid_filter_is_not_granted",
    "subscribe::no_local_on_a_shared_subscription_is_refused",
    "will::a_will_with_retain_is_retained",
];

thread_local! {
    static IS_PENDING: Cell<bool> = const { Cell::new(false) };
}

/// How long what is to come may take; less where it is expected not to come.
pub(crate) fn patience() -> Duration {
    if IS_PENDING.get() { Duration::from_secs(3) } else { PATIENCE }
}

/// Runs a test, the one that this closure is written in; the other way round where it is pending.
pub(crate) fn check<F: FnOnce()>(test: F) {
    let name = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    let name = name.split_once("::").map_or(name, |(_crate, name)| name);
    if !PENDING.contains(&name) {
        return test();
    }
    IS_PENDING.set(true);
    let failed = catch_unwind(AssertUnwindSafe(test)).is_err();
    assert!(failed, "{name} passes now: take it out of PENDING in tests/conformance/pending.rs");
}
