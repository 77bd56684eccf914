//! Promises: what a run must reach within a time after everything has healed. One that it does not keep is a lack of progress.

use super::{Timer, World};
use crate::invariant::{Kind, Violation};
use crate::scenario::Reach;

/// What a broken promise is called where invariants have their names.
pub const PROMISE: &str = "eventually";

impl World {
    /// From now on the time that each promise has is running.
    pub(super) fn schedule_promises(&mut self) {
        for promise in 0..self.plan.eventually.len() {
            self.after(self.plan.eventually[promise].within.0, Timer::Promise(promise));
        }
    }

    /// A promise must have been kept by now.
    pub(super) fn judge_promise(&mut self, promise: usize) {
        let Some(promise) = self.plan.eventually.get(promise).cloned() else { return };
        self.goals_at_the_end();
        let kept = match &promise.reach {
            Reach::Goal(goal) => self.goals.has_reached(goal),
            Reach::Milestone(milestone) => self.is_reached(milestone),
        };
        if kept || self.violation.is_some() {
            return;
        }
        let broken = Violation {
            invariant: PROMISE.to_string(),
            kind: Kind::Liveness,
            by: None,
            channel: None,
            what: format!("expected that {promise}; it is not so"),
            loss: None,
        };
        if let Some(gathered) = &self.options.gather {
            return gathered.lock().expect("nobody panics while holding it").push(broken);
        }
        self.violation = Some(broken);
        self.note_violation();
    }

    /// The run is over: nothing that is not reached now ever will be.
    pub(super) fn judge_promises(&mut self) {
        for promise in 0..self.plan.eventually.len() {
            self.judge_promise(promise);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::campaign::{How, exit_code};
    use crate::engine::Verdict;
    use crate::scenario::{Library, Scenario};
    use crate::seed_id::Crypto;

    fn verdict(head: &str) -> (Verdict, u64) {
        let plain = Library::new().find("smoke/plain").expect("a built-in story").remove(0);
        let text = plain.text.replacen("schema  = 1", &format!("schema = 1\n{head}"), 1);
        let scenario = Scenario::parse("smoke/x", "x.toml", &text, &[]);
        let scenario = scenario.unwrap_or_else(|problems| panic!("{problems}"));
        let how = How { crypto: Crypto::Toy, ..How::reference() };
        let report = how.run(&scenario, 1, false).report;
        (report.verdict, report.virtual_ns)
    }

    /// Goal: what is reached passes, what is not is a lack of progress, and names what was expected.
    /// Method: a story that closes its channel and opens no virtual one.
    #[test]
    fn a_promise_that_is_not_kept_is_a_lack_of_progress() {
        let (_, usual) = verdict("");
        for goal in ["C.closed", "channel-closed"] {
            let promise = format!("eventually = [{{ goal = \"{goal}\", within = \"60s\" }}]");
            assert_eq!(verdict(&promise), (Verdict::Pass, usual), "{goal}");
        }
        for (goal, what) in [
            ("virtual-open", "goal virtual-open is reached"),
            ("challenge-registered", "goal challenge-registered is reached"),
        ] {
            let promise = format!("eventually = [{{ goal = \"{goal}\", within = \"60s\" }}]");
            let (found, _) = verdict(&promise);
            assert_eq!(exit_code(&found), 3, "{found:?}");
            let Verdict::Violation(violation) = found else { panic!("{found:?}") };
            assert_eq!(violation.invariant, super::PROMISE);
            let expected = format!("expected that within 60s after everything has healed, {what}");
            assert!(violation.what.starts_with(&expected), "{}", violation.what);
        }
    }

    /// Goal: a promise has its own time, which may end before the run does.
    /// Method: power is lost so late that the channel is closed long after everything has healed.
    #[test]
    fn a_promise_is_judged_when_its_time_is_over() {
        let close_late = "eventually = [{ goal = \"C.closed\", within = \"1ms\" }]";
        let plain = Library::new().find("smoke/plain").expect("a built-in story").remove(0);
        let settings = [("phases.chaos", "21s"), ("phases.settle", "600s")];
        let settings = settings.map(|(key, value)| (key.to_string(), value.to_string()));
        let text = plain.text.replacen("schema  = 1", &format!("schema = 1\n{close_late}"), 1);
        let scenario = Scenario::parse("smoke/x", "x.toml", &text, &settings);
        let scenario = scenario.unwrap_or_else(|problems| panic!("{problems}"));
        let report =
            How { crypto: Crypto::Toy, ..How::reference() }.run(&scenario, 1, false).report;
        assert_eq!(exit_code(&report.verdict), 3, "{:?}", report.verdict);
        assert_eq!(report.violated_at.map(|(at, _)| at), Some(21_001_000_000));
    }

    /// Goal: what `always` leaves out is not judged, and what it names is.
    /// Method: a planted bug in a story that lists the invariant which catches it, or another.
    #[test]
    fn always_says_which_invariants_are_judged() {
        let name = "negative/sign_final_unchecked";
        let negative = Library::new().load(name, &[]).expect("a built-in story").remove(0);
        let catches = negative.expect().to_string().replace("violation:", "");
        let source = Library::new().find(name).expect("a built-in story").remove(0).text;
        let story: String = source
            .lines()
            .filter(|line| !line.starts_with("mutant") && !line.starts_with("expect"))
            .map(|line| format!("{line}\n"))
            .collect();
        let mutant = negative.mutant().map(str::to_string);
        let how = How { mutant, crypto: Crypto::Toy, ..How::reference() };
        for (always, caught) in [(catches.as_str(), true), ("no-equivocation", false)] {
            assert!(caught || always != catches);
            let always = format!("schema = 1\nalways = [\"{always}\"]");
            let text = story.replacen("schema  = 1", &always, 1);
            let scenario = Scenario::parse("smoke/x", "x.toml", &text, &[]);
            let scenario = scenario.unwrap_or_else(|problems| panic!("{problems}"));
            let report = |seed| how.run(&scenario, seed, false).report;
            assert_eq!((0..10).any(|seed| !report(seed).verdict.is_pass()), caught, "{always}");
        }
    }
}
