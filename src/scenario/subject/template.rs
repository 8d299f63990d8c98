//! `{{name}}` in a text that the user has written.
use super::Sites;

/// What stands for each name.
pub(super) struct Values(Vec<(&'static str, String)>);

/// A name that is not known, or that never ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    /// Its line, from 1.
    pub(super) line: usize,
    /// What is wrong and what would be right.
    pub(super) what: String,
}

impl Values {
    /// Where a subject finds its world.
    pub(super) fn of(sites: &Sites<'_>) -> Self {
        Self(vec![
            ("listen_host", sites.listen.ip().to_string()),
            ("listen_port", sites.listen.port().to_string()),
            ("remote_host", sites.remote.0.clone()),
            ("remote_port", sites.remote.1.to_string()),
            ("folder", sites.folder.display().to_string()),
        ])
    }

    /// One more.
    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.0.push((name, value));
        self
    }

    /// Fills them in.
    ///
    /// # Errors
    /// The first name that is not known.
    pub(super) fn fill(&self, text: &str) -> Result<String, Unknown> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("{{") {
            filled.push_str(before);
            let line = || text[..text.len() - behind.len()].lines().count();
            let Some((name, after)) = behind.split_once("}}") else {
                return Err(Unknown { line: line(), what: "`{{` without `}}`".to_owned() });
            };
            let Some((_, value)) = self.0.iter().find(|(known, _)| *known == name.trim()) else {
                let known: Vec<&str> = self.0.iter().map(|(known, _)| *known).collect();
                let what = format!("`{{{{{name}}}}}` is not known; there are {}", known.join(", "));
                return Err(Unknown { line: line(), what });
            };
            filled.push_str(value);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_unknown_ones_have_their_line() {
        let values = Values(vec![("a", "1".into()), ("b", "{{a}}".into())]);
        assert_eq!(values.fill("x {{a}} {{ b }}\n{ {a} }").as_deref(), Ok("x 1 {{a}}\n{ {a} }"));
        let unknown = values.fill("x\n{{c}}").unwrap_err();
        assert_eq!((unknown.line, unknown.what.as_str()), (2, "`{{c}}` is not known; there are a, b"));
        assert_eq!(values.fill("{{a").unwrap_err().line, 1);
    }
}
