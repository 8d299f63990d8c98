//! Every rule on a history that it is about: on recorded ones, where there are any, and on constructed ones.
mod recorded;

use crate::scenario::report::model::{Finding, SubjectReport};
use crate::scenario::story;
use crate::scenario::verdict;

fn judged(name: &str) -> SubjectReport {
    let (plan, history) = recorded::read(name);
    verdict::judge(&plan, &story::ledger(&plan, &history))
}

fn rules(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.rule.as_str()).collect()
}

#[test]
fn show() {
    for name in [
        "nanomq-silent-n4-1",
        "nanomq-silent-n32-1",
        "nanomq-rst-n4-1",
        "nanomq-kill9-n32",
        "nanomq-i2432-1",
        "mosquitto-queue-full",
        "mosquitto-short-cut",
        "mosquitto-silent-cut",
        "ours-cut",
        "ours-behind-schedule",
    ] {
        let report = judged(name);
        println!("=== {name}: {:?} {:?}", report.verdict, rules(&report.findings));
        for finding in report.findings {
            println!("  {}: {}", finding.rule, finding.title);
            for evidence in finding.evidence {
                println!("      {evidence}");
            }
        }
    }
}
