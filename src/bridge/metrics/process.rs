//! Which build this is, and since when it runs.
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

/// Said under Prometheus's own name, which has no prefix.
#[derive(Debug)]
pub(super) struct StartTime(f64);

impl StartTime {
    /// The process has just begun.
    pub(super) fn now() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
    }
}

impl Collector for StartTime {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let metric = ConstGauge::new(self.0);
        let help = "When the process began, in seconds since the Unix epoch";
        metric.encode(encoder.encode_descriptor("process_start_time_seconds", help, None, metric.metric_type())?)
    }
}

/// The version, as a label of a constant.
#[derive(Debug)]
pub(super) struct BuildInfo;

impl Collector for BuildInfo {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let metric = ConstGauge::new(1u64);
        let mut family = encoder.encode_descriptor("build_info", "Which build this is", None, metric.metric_type())?;
        metric.encode(family.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?)
    }
}
