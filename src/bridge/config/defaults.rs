//! Defaults that serde asks for by name.
use std::time::Duration;

use crate::bridge::message::QoS;

pub(super) fn is_zero(number: &u8) -> bool {
    *number == 0
}
pub(super) fn one_mebibyte() -> u64 {
    1 << 20
}
pub(super) fn eight_mebibytes() -> u64 {
    8 << 20
}
pub(super) fn one_gibibyte() -> u64 {
    1 << 30
}
pub(super) fn one_million() -> u64 {
    1_000_000
}
pub(super) fn receive_maximum() -> u16 {
    256
}
pub(super) fn protocol() -> u8 {
    5
}
pub(super) fn window() -> u16 {
    100
}
pub(super) fn at_least_once() -> QoS {
    QoS::AtLeastOnce
}
pub(super) fn hundred_milliseconds() -> Duration {
    Duration::from_millis(100)
}
pub(super) fn two_hundred_milliseconds() -> Duration {
    Duration::from_millis(200)
}
pub(super) fn two_seconds() -> Duration {
    Duration::from_secs(2)
}
pub(super) fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}
pub(super) fn twenty_seconds() -> Duration {
    Duration::from_secs(20)
}
pub(super) fn sixty_seconds() -> Duration {
    Duration::from_secs(60)
}
pub(super) fn seven_days() -> Duration {
    Duration::from_secs(7 * 86_400)
}
