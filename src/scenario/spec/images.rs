//! `--image NAME=IMAGE`: other images than the scenario's.
use super::SpecError;
use crate::scenario::plan::{Plan, SubjectKind};

/// Replaces images in a plan. A name is `remote`, or a subject's name, or the kind of one or several subjects.
///
/// # Errors
/// [`SpecError::Image`].
pub fn replace(plan: &mut Plan, asked: &[impl AsRef<str>]) -> Result<(), SpecError> {
    for asked in asked.iter().map(AsRef::as_ref) {
        let known = plan.subjects.iter().map(|subject| subject.name.clone()).collect::<Vec<_>>().join(", ");
        let wrong = |why: &str| SpecError::Image { asked: asked.to_owned(), why: why.to_owned(), known };
        let Some((name, image)) = asked.split_once('=') else { return Err(wrong("there is no `=` in it")) };
        if image.trim().is_empty() {
            return Err(wrong("the image is missing"));
        }
        if name == "remote" {
            plan.remote.image = Some(image.to_owned());
            plan.remote.image_archive = None;
            continue;
        }
        let named = plan.subjects.iter().any(|subject| subject.name == name);
        let chosen = plan
            .subjects
            .iter_mut()
            .filter(|subject| if named { subject.name == name } else { kind(subject.kind) == name });
        let mut found = false;
        for subject in chosen {
            subject.image = Some(image.to_owned());
            found = true;
        }
        if !found {
            return Err(wrong(&format!("nobody is called `{name}`")));
        }
    }
    Ok(())
}

fn kind(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::MqttBridge => "mqtt-bridge",
        SubjectKind::Mosquitto => "mosquitto",
        SubjectKind::Nanomq => "nanomq",
        SubjectKind::NanomqModel => "nanomq-model",
        SubjectKind::Command => "command",
    }
}
