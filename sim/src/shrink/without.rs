//! A plan without some of its operations and faults.

use crate::scenario::{Element, Milestone, OpTrigger, Plan};

/// The plan without these elements. An operation that waited for a removed one begins when the removed one would have begun;
/// otherwise it would never begin, and an operation could only go together with all that follow it.
pub fn without(plan: &Plan, gone: &[Element]) -> Plan {
    let mut rest = plan.clone();
    for element in gone {
        let op = rest.ops.iter().find(|op| op.id == *element);
        if let Some(when) = op.map(|op| op.when.clone()) {
            for waiting in &mut rest.ops {
                if let Some(earlier) = in_place_of(&waiting.when, *element, &when) {
                    waiting.when = earlier;
                }
            }
        }
        rest.remove(*element);
    }
    rest
}

/// The trigger of an operation that waited for `gone`, which would have begun at `when`.
fn in_place_of(waiting: &OpTrigger, gone: Element, when: &OpTrigger) -> Option<OpTrigger> {
    match waiting {
        OpTrigger::After { milestone: Milestone::Done(op), delay } if *op == gone => {
            Some(match when {
                OpTrigger::At(at) => OpTrigger::At(at.plus(*delay)),
                OpTrigger::After { milestone, delay: before } => {
                    OpTrigger::After { milestone: milestone.clone(), delay: before.plus(*delay) }
                }
                OpTrigger::On { step, delay: before } => {
                    OpTrigger::On { step: step.clone(), delay: before.plus(*delay) }
                }
            })
        }
        OpTrigger::After { .. } | OpTrigger::On { .. } | OpTrigger::At(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::How;
    use crate::chance::Tape;
    use crate::scenario::Library;

    /// Goal: who waits for what is gone goes on in its place. Method: open, pay, pay back, close 20 s later; some taken away.
    #[test]
    fn what_waited_for_a_removed_operation_begins_in_its_place() {
        let scenario = Library::new().load("smoke/plain", &[]).unwrap().remove(0);
        let (plan, _) = How::reference().plan(&scenario, 1, &Tape::default());
        let close = |gone: &[usize]| {
            let gone: Vec<Element> = gone.iter().map(|op| Element::Op(*op)).collect();
            without(&plan, &gone).ops.last().unwrap().to_string()
        };
        assert_eq!(close(&[]), "alice asks to close C 20s after op 2 is done");
        assert_eq!(close(&[1]), "alice asks to close C 20s after op 2 is done");
        assert_eq!(close(&[2]), "alice asks to close C 20s after op 1 is done");
        assert_eq!(close(&[1, 2]), "alice asks to close C 20s after C is open");
        assert_eq!(close(&[2, 1]), "alice asks to close C 20s after C is open");
        assert_eq!(without(&plan, &[Element::Fault(9)]), plan);
    }
}
