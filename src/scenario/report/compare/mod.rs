//! Runs side by side: the differences that matter first. Pure; subjects, versions and environments may differ, and where
//! they do it is said.
pub mod html;
pub mod markdown;
mod measures;
mod rule;
pub mod terminal;
#[cfg(test)]
mod tests;

pub use rule::{Change, Kind, RULE, Value};

use serde::Serialize;

use super::model::{Report, SubjectReport, Verdict};

/// Several runs beside each other, exactly as `--format json` has it. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// One for each subject of each run.
    pub columns: Vec<Column>,
    /// In what else the columns differ, so that not every difference is the subject's.
    pub setup: Vec<String>,
    /// What is significant: regressions first, then what is better.
    pub differences: Vec<Difference>,
    /// Everything that was measured.
    pub rows: Vec<Row>,
    /// What is significant, in words.
    pub rule: &'static str,
}

/// A subject of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Column {
    /// What it is called here: the run's folder and the subject's name, as far as they tell the columns apart.
    pub label: String,
    /// The run's folder.
    pub run: String,
    /// The subject's name.
    pub subject: String,
    /// What it says of its version.
    pub version: String,
    /// The scenario's name.
    pub scenario: String,
    /// The environment.
    pub environment: String,
    /// The remote broker and its version.
    pub remote: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// The verdict's reason.
    pub summary: String,
    /// The column that it is compared with; the first one is compared with none.
    pub against: Option<usize>,
}

/// A significant difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// What differs.
    pub measure: String,
    /// The column in which.
    pub column: usize,
    /// The column it is compared with.
    pub against: usize,
    /// In which direction.
    pub change: Change,
    /// Whether `--fail-on-regression` fails for it.
    pub regression: bool,
    /// What it was, as it is shown.
    pub before: String,
    /// What it is.
    pub after: String,
    /// Which topics it comes from.
    pub topics: String,
}

/// One measure of all columns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was measured.
    pub measure: String,
    /// How it is compared.
    pub kind: Kind,
    /// In order of the columns.
    pub values: Vec<Value>,
}

/// Compares the subjects of runs, each given with the name of its folder. Every subject is compared with the one of the
/// same name in the first run, or, where that has none, with the first one of all.
pub fn compare(runs: &[(String, Report)]) -> Comparison {
    let subjects: Vec<(&str, &Report, &SubjectReport)> = runs
        .iter()
        .flat_map(|(run, report)| report.subjects.iter().map(move |subject| (run.as_str(), report, subject)))
        .collect();
    let first_run = runs.first().map_or(0, |(_, report)| report.subjects.len());
    let against = |index: usize, subject: &SubjectReport| {
        let same = subjects[..first_run].iter().position(|(_, _, other)| other.name == subject.name);
        Some(same.filter(|_| index >= first_run).unwrap_or(0)).filter(|_| index > 0)
    };
    let columns: Vec<Column> = subjects
        .iter()
        .enumerate()
        .map(|(index, (run, report, subject))| Column {
            label: label(&subjects, index),
            run: (*run).to_owned(),
            subject: subject.name.clone(),
            version: subject.version.clone(),
            scenario: report.scenario.clone(),
            environment: report.environment.clone(),
            remote: report.remote.clone(),
            verdict: subject.verdict,
            summary: subject.summary.clone(),
            against: against(index, subject),
        })
        .collect();
    let measured: Vec<_> = subjects.iter().map(|(_, _, subject)| measures::measures(subject)).collect();
    let mut differences = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let Some(against) = column.against else { continue };
        let (before, after) = (subjects[against].2, subjects[index].2);
        differences.extend(verdict_difference(index, against, before.verdict, after.verdict));
        let comparable = |kind| kind != Kind::Latency || measures::as_many_arrived(&before.totals, &after.totals);
        for (was, is) in measured[against].iter().zip(&measured[index]).filter(|(_, is)| comparable(is.kind)) {
            let (of, out_of) = (measures::intended(&before.totals), measures::intended(&after.totals));
            let Some(change) = rule::change(is.kind, (was.value, of), (is.value, out_of)) else { continue };
            differences.push(Difference {
                measure: is.name.clone(),
                column: index,
                against,
                change,
                regression: change == Change::Worse,
                before: shown(was.kind, was.value),
                after: shown(is.kind, is.value),
                topics: measures::by_topic(&is.name, before, after),
            });
        }
    }
    // Stable: within each group in order of the columns and the measures, of which the worst stand first.
    differences.sort_by_key(|difference| (!difference.regression, difference.change));
    let rows = measured.first().map_or(0, Vec::len);
    let row = |index: usize| Row {
        measure: measured[0][index].name.clone(),
        kind: measured[0][index].kind,
        values: measured.iter().map(|measures| measures[index].value).collect(),
    };
    let setup = setup(&subjects);
    Comparison { columns, setup, differences, rows: (0..rows).map(row).collect(), rule: RULE }
}

impl Comparison {
    /// The exit code of `compare --fail-on-regression`: 1 where something is worse, 3 where a column proves nothing.
    pub fn exit_code(&self) -> u8 {
        if self.differences.iter().any(|difference| difference.regression) {
            return Verdict::Fail.exit_code();
        }
        match self.columns.iter().any(|column| column.verdict == Verdict::Inconclusive) {
            true => Verdict::Inconclusive.exit_code(),
            false => Verdict::Pass.exit_code(),
        }
    }

    /// Rows in which any column has something to show.
    fn shown_rows(&self) -> impl Iterator<Item = &Row> {
        let says_something =
            |row: &&Row| row.values.iter().any(|value| !matches!(value, Value::Absent | Value::Number(0.0)));
        let always = |row: &&Row| matches!(row.measure.as_str(), "lost" | "duplicated at QoS 2" | "out of order");
        self.rows.iter().filter(move |row| always(row) || says_something(row))
    }
}

fn verdict_difference(column: usize, against: usize, before: Verdict, after: Verdict) -> Option<Difference> {
    let rank = |verdict| match verdict {
        Verdict::Pass => 0,
        Verdict::Inconclusive => 1,
        Verdict::Fail => 2,
    };
    (before != after).then(|| Difference {
        measure: "verdict".to_owned(),
        column,
        against,
        change: if rank(after) > rank(before) { Change::Worse } else { Change::Better },
        regression: after == Verdict::Fail,
        before: before.name().to_owned(),
        after: after.name().to_owned(),
        topics: String::new(),
    })
}

/// A name for a column that no other has: the subject's, the run's folder, or both.
fn label(subjects: &[(&str, &Report, &SubjectReport)], index: usize) -> String {
    let (run, _, subject) = subjects[index];
    let folder = |run: &str| run.trim_end_matches('/').rsplit('/').next().unwrap_or(run).to_owned();
    let alone = |name: &dyn Fn(usize) -> String| (0..subjects.len()).filter(|i| name(*i) == name(index)).count() == 1;
    if alone(&|i| subjects[i].2.name.clone()) {
        return subject.name.clone();
    }
    if alone(&|i| format!("{}/{}", folder(subjects[i].0), subjects[i].2.name)) {
        return format!("{}/{}", folder(run), subject.name);
    }
    format!("{run}/{}", subject.name)
}

/// What the runs do not have in common.
fn setup(subjects: &[(&str, &Report, &SubjectReport)]) -> Vec<String> {
    type Fact = (&'static str, fn(&Report, &SubjectReport) -> String);
    let facts: [Fact; 6] = [
        ("scenario", |report, _| report.scenario.clone()),
        ("environment", |report, _| report.environment.clone()),
        ("remote", |report, _| report.remote.clone()),
        ("seed", |report, _| report.seed.to_string()),
        ("messages to be published", |_, subject| subject.totals.intended.to_string()),
        ("faults", |_, subject| faults(subject)),
    ];
    let line = |(name, of): Fact| {
        let values: Vec<String> = subjects.iter().map(|(_, report, subject)| of(report, subject)).collect();
        let differ = values.iter().any(|value| *value != values[0]);
        differ.then(|| {
            let each = values.iter().enumerate().map(|(index, value)| format!("{value} ({})", label(subjects, index)));
            format!("{name}: {}", each.collect::<Vec<_>>().join(", "))
        })
    };
    facts.into_iter().filter_map(line).collect()
}

/// In whole seconds: no two runs have the same milliseconds.
fn faults(subject: &SubjectReport) -> String {
    let spans = subject.timeline.faults.iter();
    let spans = spans.map(|span| format!("{} for {:.0} s", span.kind.name(), span.end_s - span.start_s));
    let spans: Vec<String> = spans.collect();
    if spans.is_empty() { "none".to_owned() } else { spans.join(" and ") }
}

/// A value as a person reads it.
fn shown(kind: Kind, value: Value) -> String {
    match (value, kind) {
        (Value::Absent, _) => "-".to_owned(),
        (Value::Never, _) => "never".to_owned(),
        (Value::Number(millis), Kind::Latency | Kind::Recovery) => super::table::duration(millis),
        (Value::Number(number), Kind::Count | Kind::Shown) => format!("{number:.0}"),
    }
}

/// The longest latency is shown only, and is a time all the same.
fn cell(row: &Row, value: Value) -> String {
    let kind = if row.measure.ends_with(", max") { Kind::Latency } else { row.kind };
    shown(kind, value)
}
