//! Any bridge, by an executable or an image, a template of its configuration, and a command line. It is ready when it
//! answers CONNECT where it was told to listen.
use super::template::{Unknown, Values};
use super::{Configuration, Program, Sites, SubjectError, own_configuration};
use crate::scenario::plan::{Plan, SubjectPlan};

pub(super) fn configure(plan: &Plan, subject: &SubjectPlan, sites: &Sites<'_>) -> Result<Configuration, SubjectError> {
    if let Some(key) = subject.settings.keys().next() {
        let why = "a command takes none: write them into its `config` or its `arguments`".to_owned();
        return Err(SubjectError::Setting { name: subject.name.clone(), key: key.clone(), why });
    }
    let mut values = Values::of(sites);
    let mut files = Vec::new();
    if let Some((file, text)) = own_configuration(plan, subject)? {
        let wrong = |Unknown { line, what }| SubjectError::Configuration {
            name: subject.name.clone(),
            file: file.clone(),
            line,
            what,
        };
        let text = values.fill(&text).map_err(wrong)?;
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        values = values.with("config", sites.folder.join(&name).display().to_string());
        files.push((name, text));
    }
    let wrong = |Unknown { what, .. }| SubjectError::Argument { name: subject.name.clone(), what };
    let arguments = subject.arguments.iter().map(|argument| values.fill(argument).map_err(wrong));
    let arguments = arguments.collect::<Result<_, _>>()?;
    let program = subject.binary.clone().map_or(Program::Image, Program::File);
    let unexpressed = vec!["the scenario's `bridge:`: what a command is told is in its own configuration".to_owned()];
    Ok(Configuration { unexpressed, ..Configuration::new(program, arguments, files) })
}
