//! The table of messages: one row per topic, one column per class.
use comfy_table::{Attribute, Cell, CellAlignment, Color};

use super::{INDENT, Paint, unpadded, wrap};
use crate::scenario::plan::Via;
use crate::scenario::report::model::{SubjectReport, TopicReport, Totals};

impl Paint {
    /// The table per topic, with the rarer classes where there are any; in a table of their own where they do not fit.
    pub(super) fn messages(self, subject: &SubjectReport) -> Vec<String> {
        let always: Vec<Column> = COLUMNS.iter().filter(|column| column.always).copied().collect();
        let rarely = COLUMNS.iter().filter(|column| !column.always && (column.of)(&subject.totals) > 0);
        let rarely: Vec<Column> = rarely.copied().collect();
        let together: Vec<Column> = always.iter().chain(&rarely).copied().collect();
        let mut lines = if rarely.is_empty() || self.natural_width(subject, &together) <= self.width {
            self.counts(subject, &together)
        } else {
            let mut lines = self.counts(subject, &always);
            lines.push(String::new());
            lines.extend(self.counts(subject, &rarely));
            lines
        };
        let remote = subject.topics.iter().filter(|topic| topic.via == Via::Remote);
        let remote: Vec<&str> = remote.map(|topic| topic.topic.as_str()).collect();
        if !remote.is_empty() {
            let note = format!("{}: published at the remote, received at the bridge", remote.join(", "));
            lines.extend(wrap(&note, self.width, INDENT));
        }
        lines
    }

    fn natural_width(self, subject: &SubjectReport, columns: &[Column]) -> usize {
        let topic = subject.topics.iter().map(|topic| topic.topic.chars().count()).max().unwrap_or(0).max(5);
        let cell = |column: &Column| {
            let header = column.header.lines().map(str::len).max().unwrap_or(0);
            header.max(column.cell(&subject.totals).len()) + 2
        };
        topic + 1 + 5 + columns.iter().map(cell).sum::<usize>()
    }

    fn counts(self, subject: &SubjectReport, columns: &[Column]) -> Vec<String> {
        let mut table = self.table();
        let right = |text: &str| Cell::new(text).set_alignment(CellAlignment::Right);
        let header = columns.iter().map(|column| right(column.header));
        table.set_header([Cell::new("topic"), right("QoS")].into_iter().chain(header));
        let row = |name: String, qos: String, totals: &Totals, topics: &[TopicReport], bold: bool| {
            let number = |column: &Column| {
                let bad = topics.iter().any(|topic| (column.bad)(topic.qos) && (column.of)(&topic.totals) > 0);
                let cell = right(&column.cell(totals));
                let cell = if bad { cell.fg(Color::DarkRed) } else { cell };
                if bad || bold { cell.add_attribute(Attribute::Bold) } else { cell }
            };
            let numbers: Vec<Cell> = columns.iter().map(number).collect();
            let name = if bold { Cell::new(name).add_attribute(Attribute::Bold) } else { Cell::new(name) };
            [name, right(&qos)].into_iter().chain(numbers).collect::<Vec<Cell>>()
        };
        for topic in &subject.topics {
            let (name, qos, itself) = (topic.topic.clone(), topic.qos.to_string(), std::slice::from_ref(topic));
            table.add_row(row(name, qos, &topic.totals, itself, false));
        }
        let several = subject.topics.len() > 1;
        if several {
            table.add_row(row("total".to_owned(), String::new(), &subject.totals, &subject.topics, true));
        }
        let mut lines = unpadded(&mut table);
        // The table's own rules are between all rows or none.
        if let Some(rule) = lines.iter().find(|line| line.starts_with('─')).cloned().filter(|_| several) {
            lines.insert(lines.len() - 1, rule);
        }
        lines
    }
}

/// A column of the table: its header, whether it is always shown, at which effective QoS a number in it is bad news.
#[derive(Clone, Copy)]
struct Column {
    header: &'static str,
    of: fn(&Totals) -> u64,
    always: bool,
    bad: fn(u8) -> bool,
}

impl Column {
    /// `17`, or `17/20` where fewer were sent than intended.
    fn cell(&self, totals: &Totals) -> String {
        let count = (self.of)(totals);
        if self.header == "sent" && count != totals.intended {
            return format!("{count}/{}", totals.intended);
        }
        count.to_string()
    }
}

const fn column(header: &'static str, of: fn(&Totals) -> u64, always: bool, bad: fn(u8) -> bool) -> Column {
    Column { header, of, always, bad }
}

const COLUMNS: [Column; 11] = [
    column("sent", |totals| totals.sent, true, |_| false),
    column("acknowledged", |totals| totals.acknowledged, true, |_| false),
    column("received", |totals| totals.received, true, |_| false),
    column("lost", |totals| totals.lost, true, |qos| qos > 0),
    column("duplicated", |totals| totals.duplicated, true, |qos| qos == 2),
    column("out of\norder", |totals| totals.out_of_order, true, |_| true),
    column("refused", |totals| totals.refused, false, |_| false),
    column("unac-\nknowledged", |totals| totals.unacknowledged, false, |_| false),
    column("recovered", |totals| totals.recovered, false, |_| false),
    column("unexpected", |totals| totals.unexpected, false, |_| true),
    column("late", |totals| totals.late, false, |_| true),
];
