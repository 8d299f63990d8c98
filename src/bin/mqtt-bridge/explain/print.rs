//! Findings as text or as Markdown.
use std::io::IsTerminal;

use mqtt_bridge::scenario::findings;
use mqtt_bridge::scenario::report::model::Finding;

use super::Format;

/// Columns where the width of the terminal is not known.
const WIDTH: usize = 100;

/// Lines, in the making.
pub(super) struct Page {
    lines: Vec<String>,
    markdown: bool,
    width: usize,
}

impl Page {
    pub(super) fn new(format: Format) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let width = comfy_table::Table::new().width().filter(|_| terminal).map_or(WIDTH, usize::from).max(40);
        Self { lines: Vec::new(), markdown: matches!(format, Format::Markdown), width }
    }

    pub(super) fn heading(&mut self, text: &str) {
        let text = if self.markdown { format!("## {text}") } else { text.to_owned() };
        self.wrapped(&text, "");
    }

    pub(super) fn section(&mut self, text: &str) {
        self.lines.push(String::new());
        let text = if self.markdown { format!("### {text}") } else { text.to_owned() };
        self.wrapped(&text, "");
        self.lines.push(if self.markdown { String::new() } else { "─".repeat(text.chars().count().min(self.width)) });
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        self.wrapped(text, "");
    }

    pub(super) fn item(&mut self, text: &str) {
        self.wrapped(&format!("- {text}"), "  ");
    }

    pub(super) fn findings(&mut self, findings: &[Finding]) {
        for (number, finding) in (1..).zip(findings) {
            self.lines.push(String::new());
            let title = if self.markdown { format!("**{}**", finding.title) } else { finding.title.clone() };
            self.wrapped(&format!("{number}. {title} [{}]", finding.rule), "   ");
            for evidence in &finding.evidence {
                self.wrapped(&format!("   - {evidence}"), "     ");
            }
            if let Some(mechanism) = findings::mechanism(&finding.rule) {
                self.wrapped(&format!("   why: {mechanism}"), "        ");
            }
            self.wrapped(&format!("   advice: {}", finding.advice), "        ");
            self.wrapped(&format!("   see: {}", finding.reference), "        ");
        }
    }

    pub(super) fn print(&self) {
        self.lines.iter().for_each(|line| println!("{}", line.trim_end()));
    }

    /// Breaks at spaces; what follows the first line is indented. Markdown breaks by itself, but needs its lists apart.
    fn wrapped(&mut self, text: &str, indent: &str) {
        if self.markdown {
            let labels = ["why: ", "advice: ", "see: "];
            let bare = text.trim_start();
            let label = labels.iter().find(|label| bare.starts_with(**label));
            let text = label.map_or_else(
                || text.to_owned(),
                |label| format!("   - **{}**{}", label.trim(), &bare[label.len() - 1..]),
            );
            return self.lines.push(text);
        }
        let start = text.len() - text.trim_start().len();
        let mut line = text[..start].to_owned();
        let mut empty = true;
        for word in text[start..].split(' ') {
            if !empty && line.chars().count() + 1 + word.chars().count() > self.width {
                self.lines.push(std::mem::replace(&mut line, indent.to_owned()));
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        self.lines.push(line);
    }
}

/// A line of a log, quoted.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.trim())
}

/// Findings as data, each with what its rule holds to be behind it.
pub(super) fn with_mechanism(findings: &[Finding]) -> Vec<serde_json::Value> {
    let finding = |finding: &Finding| {
        let Finding { rule, title, evidence, advice, reference } = finding;
        let mechanism = findings::mechanism(rule);
        serde_json::json!({
            "rule": rule, "title": title, "evidence": evidence, "mechanism": mechanism, "advice": advice,
            "reference": reference,
        })
    };
    findings.iter().map(finding).collect()
}
