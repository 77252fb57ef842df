//! What an end makes of what a rule knows.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn rule(on: &[&str], repeat_after: Option<Duration>) -> Rule {
    let on = on.iter().map(|word| (*word).to_owned()).collect();
    Rule { id: "r".into(), flow_id: None, project_id: None, on, repeat_after }
}

/// One letter an end, an hour apart: `x` failed, `o` did not. Of each, what is told: `F`, `R` or nothing.
fn told(rule: &Rule, ends: &str) -> String {
    let mut known = None;
    let mut at = Timestamp(0);
    let judged = |end: char| {
        at = at.after(HOUR);
        let (bad, is_told) = rule.judge(known, end == 'x', at);
        known = bad;
        match (is_told, end) {
            (false, _) => '-',
            (true, 'x') => 'F',
            (true, _) => 'R',
        }
    };
    ends.chars().map(judged).collect()
}

#[test]
fn a_failure_is_told_once_and_the_first_good_end_after_it() {
    let both = ["failure", "recovery"];
    assert_eq!(told(&rule(&both, None), "ooxxxooxo"), "--F--R-FR");
    assert_eq!(told(&rule(&["failure"], None), "xxoxo"), "F--F-");
    assert_eq!(told(&rule(&["recovery"], None), "xxoxo"), "--R-R");
    assert_eq!(told(&rule(&["approval"], None), "xoxo"), "----");
}

#[test]
fn a_failure_that_lasts_is_told_again_after_the_pause() {
    let rule = rule(&["failure", "recovery"], Some(3 * HOUR));
    assert_eq!(told(&rule, "xxxxxxxo"), "F--F--FR");
    assert_eq!(told(&rule, "xxoxxxx"), "F-RF--F");
    let (bad, _) = rule.judge(None, true, Timestamp(1));
    let (bad, _) = rule.judge(bad, true, Timestamp(2));
    assert_eq!(bad, Some(Bad { since: Timestamp(1), told_at: Timestamp(1), failures: 2 }));
}

#[test]
fn a_rule_covers_its_flow_and_its_project() {
    let subject = |flow: &str, project: Option<&str>| Subject {
        kind: Kind::Flow,
        id: flow.into(),
        name: flow.into(),
        flow_id: Some(flow.into()),
        project_id: project.map(str::to_owned),
    };
    let of = |flow: Option<&str>, project: Option<&str>| Rule {
        flow_id: flow.map(str::to_owned),
        project_id: project.map(str::to_owned),
        ..rule(&["failure"], None)
    };
    let subjects = [subject("f", Some("p")), subject("f", None), subject("g", Some("p")), subject("g", Some("q"))];
    for (rule, expected) in [
        (of(None, None), [true, true, true, true]),
        (of(Some("f"), None), [true, true, false, false]),
        (of(None, Some("p")), [true, false, true, false]),
        (of(Some("f"), Some("p")), [true, false, false, false]),
    ] {
        assert_eq!(subjects.each_ref().map(|subject| rule.covers(subject)), expected);
    }
}

#[test]
fn what_stands_for_a_token_is_in_no_text_of_somebodys_own() {
    assert_eq!(plain("sfa_*** and sfa_0a1b"), "*** and ***");
    assert_eq!(plain("nothing of it"), "nothing of it");
}
