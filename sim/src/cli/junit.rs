//! `run --format junit`: what build servers show. One suite a scenario and engine; one case a failing seed, one for all that passed.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

/// One thing that a scenario came to.
pub struct Case {
    /// What it is called: the seed id, or the range that passed.
    pub name: String,
    /// What went wrong; nothing when nothing did.
    pub failure: Option<Failure>,
}

/// Why a case failed.
pub struct Failure {
    /// The broken invariant, or what else.
    pub property: String,
    /// One sentence.
    pub message: String,
    /// The story and the line that repeats it.
    pub block: String,
}

/// What one scenario came to on one engine.
pub struct Suite {
    /// `smoke/plain (madsim)`.
    pub name: String,
    /// At least one.
    pub cases: Vec<Case>,
}

/// The report as XML.
///
/// # Errors
/// When a text cannot be written as XML.
pub fn xml(suites: &[Suite], took: Duration) -> Result<String, String> {
    let mut report = Report::new("fairway-sim");
    report.set_time(took);
    for suite in suites {
        let mut told = TestSuite::new(suite.name.as_str());
        for case in &suite.cases {
            let status = match &case.failure {
                None => TestCaseStatus::success(),
                Some(failure) => {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status.set_type(failure.property.as_str());
                    status.set_message(failure.message.as_str());
                    status.set_description(failure.block.as_str());
                    status
                }
            };
            let mut told_case = TestCase::new(case.name.as_str(), status);
            told_case.set_classname(suite.name.as_str());
            told.add_test_case(told_case);
        }
        report.add_test_suite(told);
    }
    report.to_string().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_a_case_for_what_passed_and_one_for_each_failure() {
        let failure = Failure {
            property: "no-equivocation".into(),
            message: "alice signed <two> states".into(),
            block: "Alice loses power.\nreplay 'x'".into(),
        };
        let cases = vec![
            Case { name: "seeds 0..7: 6 passed".into(), failure: None },
            Case { name: "smoke/plain#3@x-y/reference".into(), failure: Some(failure) },
        ];
        let suites = [Suite { name: "smoke/plain".into(), cases }];
        insta::assert_snapshot!(xml(&suites, Duration::from_millis(1_500)).unwrap(), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="fairway-sim" tests="2" skipped="0" failures="1" errors="0" time="1.500">
            <testsuite name="smoke/plain" tests="2" skipped="0" errors="0" failures="1">
                <testcase name="seeds 0..7: 6 passed" classname="smoke/plain"/>
                <testcase name="smoke/plain#3@x-y/reference" classname="smoke/plain">
                    <failure message="alice signed &lt;two&gt; states" type="no-equivocation">Alice loses power.
        replay &apos;x&apos;</failure>
                </testcase>
            </testsuite>
        </testsuites>
        "#);
    }
}
