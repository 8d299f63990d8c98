//! `mqtt-bridge replay`.
use std::path::PathBuf;

use clap::ValueEnum;
use mqtt_bridge::scenario::plan::EnvironmentKind;
use mqtt_bridge::scenario::runner::{self, Options};
use mqtt_bridge::scenario::{report, shipped, spec, verdict};

use crate::report::{Format, print};

/// Run a scenario against one or more bridges, and report what was lost, duplicated or reordered
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The scenario file, or the name of a shipped scenario
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
    /// Where it runs; without this, as the scenario says
    #[arg(long, value_enum)]
    environment: Option<Environment>,
    /// A bridge to run it against, by its name in the scenario or by its kind; may be repeated
    #[arg(long = "subject", value_name = "NAME")]
    subjects: Vec<String>,
    /// An image for `remote`, or for a subject by its name or kind, instead of the scenario's; may be repeated
    #[arg(long = "image", value_name = "NAME=IMAGE")]
    images: Vec<String>,
    /// Keep plan, histories, logs and report in this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How the report is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Environment {
    /// The best one that answers
    Auto,
    /// Child processes and a fault proxy on loopback
    Local,
    /// Network namespaces
    Netns,
    /// Containers
    Docker,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let mut loaded = shipped::load(&arguments.scenario, &arguments.subjects)?;
    let plan = &mut loaded.plan;
    if let Some(environment) = arguments.environment {
        plan.environment = match environment {
            Environment::Auto => EnvironmentKind::Auto,
            Environment::Local => EnvironmentKind::Local,
            Environment::Netns => EnvironmentKind::Netns,
            Environment::Docker => EnvironmentKind::Docker,
        };
    }
    spec::replace_images(plan, &arguments.images)?;
    let options = Options { own: std::env::current_exe()?, out: arguments.out.clone() };
    runner::settle_in(plan)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(runner::run(plan, &options))?;
    let ledgers: Vec<_> = outcome.subjects.into_iter().map(|subject| (subject.name, subject.ledger)).collect();
    let report = verdict::report(plan, &ledgers);
    if let Some(folder) = &arguments.out {
        report::run_folder::write(folder, plan, &ledgers, &report)?;
    }
    print(&report, arguments.format)?;
    Ok(report.exit_code())
}
