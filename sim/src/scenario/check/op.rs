//! Operations: what each waits for, and whether what it names is there.

use std::collections::BTreeSet;

use super::super::fault::When;
use super::super::names::unknown;
use super::super::op::{Op, OpKind};
use super::super::resolve::milestone;
use super::super::unit::Count;
use super::{Check, is_name};

impl Check<'_> {
    pub(super) fn ops(&mut self) {
        let mut ids = BTreeSet::new();
        let mut opened = BTreeSet::new();
        for (index, op) in self.file.op.iter().enumerate() {
            let path = format!("op[{index}]");
            if let Some(id) = &op.id {
                let taken = self.channel_ids().contains(&id.as_str());
                if !is_name(id) || taken || !ids.insert(id.as_str()) {
                    let what = "expected a name that no other operation and no channel has";
                    self.add(format!("{path}.id"), format!("{what}, found `{id}`"));
                }
            }
            self.op_trigger(&path, index, op);
            self.op_args(&format!("{path}.args"), op);
            let opens = match &op.what {
                OpKind::ChannelOpen(open) => &open.id,
                OpKind::VirtualOpen(open) => &open.id,
                OpKind::ChannelPay(_)
                | OpKind::ChannelClose(_)
                | OpKind::ForceClose(_)
                | OpKind::Restart(_) => continue,
            };
            if !opened.insert(opens.as_str()) {
                self.add(
                    format!("{path}.args.id"),
                    format!("expected each channel to be opened once, found `{opens}` again"),
                );
            }
        }
        self.unopened(&opened);
    }

    /// The names of all channels, virtual ones last.
    fn channel_ids(&self) -> Vec<&str> {
        let topology = &self.file.topology;
        let direct = topology.channels.iter().map(|channel| channel.id.as_str());
        direct.chain(topology.virtuals.iter().map(|channel| channel.id.as_str())).collect()
    }

    /// A channel that is used and never opened makes operations wait for ever.
    fn unopened(&mut self, opened: &BTreeSet<&str>) {
        for (index, op) in self.file.op.iter().enumerate() {
            let (channel, path) = match &op.what {
                OpKind::ChannelPay(pay) => (&pay.channel, format!("op[{index}].args.channel")),
                OpKind::ChannelClose(close) => {
                    (&close.channel, format!("op[{index}].args.channel"))
                }
                OpKind::ForceClose(close) => (&close.channel, format!("op[{index}].args.channel")),
                OpKind::ChannelOpen(_) | OpKind::VirtualOpen(_) | OpKind::Restart(_) => continue,
            };
            let known = self.channel_ids().contains(&channel.as_str());
            if known && !opened.contains(channel.as_str()) {
                self.add(
                    path,
                    format!("expected a channel that some operation opens, found `{channel}`"),
                );
            }
        }
    }

    fn op_trigger(&mut self, path: &str, index: usize, op: &Op) {
        match (&op.at, &op.after, &op.when) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                self.add(path, "expected one of `at`, `after` and `when`, found several");
            }
            (None, None, None) => {
                self.add(path, "expected `at`, `after` or `when`, found none of them");
            }
            (None, None, Some(When { at: Some(_), .. })) => {
                self.add(format!("{path}.when.at"), "expected a time in `at`, found it in `when`");
            }
            (None, None, Some(when)) => self.when(&format!("{path}.when"), when),
            (Some(at), None, None) => {
                if at.least() >= self.file.phases.chaos {
                    self.too_late(&format!("{path}.at"), at.least());
                }
                if op.delay.is_some() {
                    self.add(
                        format!("{path}.delay"),
                        "expected a delay only with `after` or `when`, found `at`",
                    );
                }
            }
            (None, Some(after), None) => self.op_after(&format!("{path}.after"), index, after),
        }
    }

    /// Only earlier operations can be waited for, so that nothing waits in a circle.
    fn op_after(&mut self, path: &str, index: usize, after: &str) {
        let known = self.milestones(index);
        if milestone(self.file, after).is_none() || !known.iter().any(|name| name == after) {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            self.add(path, unknown("a milestone", after, &known));
        }
    }

    /// The milestones of all channels and of the first `ops` operations.
    pub(super) fn milestones(&self, ops: usize) -> Vec<String> {
        let channels = self.file.topology.channels.iter();
        let mut known: Vec<String> = channels
            .flat_map(|channel| {
                ["open", "updated", "closed"].map(|what| format!("{}.{what}", channel.id))
            })
            .collect();
        for channel in &self.file.topology.virtuals {
            known.extend(["open", "paid", "closed"].map(|what| format!("{}.{what}", channel.id)));
        }
        let ids = self.file.op[..ops].iter().filter_map(|op| op.id.as_ref());
        known.extend(ids.map(|id| format!("{id}.done")));
        known
    }

    fn op_args(&mut self, path: &str, op: &Op) {
        match &op.what {
            OpKind::ChannelOpen(open) => {
                self.direct(&format!("{path}.id"), &open.id);
                self.channel_use(path, "id", &open.id, open.from.as_deref());
            }
            OpKind::VirtualOpen(open) => {
                let known = self.file.topology.virtuals.iter().map(|v| v.id.as_str());
                let known: Vec<&str> = known.collect();
                if !known.contains(&open.id.as_str()) {
                    let what = unknown("a virtual channel", &open.id, &known);
                    self.add(format!("{path}.id"), what);
                }
            }
            OpKind::ChannelPay(pay) => {
                self.channel_use(path, "channel", &pay.channel, Some(&pay.from));
                self.virtual_payer(&format!("{path}.from"), &pay.channel, &pay.from);
                if pay.amount.least().0.is_zero() {
                    self.add(
                        format!("{path}.amount"),
                        "expected an amount above zero, found 0 wei",
                    );
                }
                if pay.count.most() > PAYMENTS_MAX {
                    let most = pay.count.most();
                    self.add(
                        format!("{path}.count"),
                        format!("expected at most {PAYMENTS_MAX} payments, found {most}"),
                    );
                }
            }
            OpKind::ChannelClose(close) => {
                self.channel_use(path, "channel", &close.channel, close.from.as_deref());
            }
            OpKind::ForceClose(close) => {
                self.channel_use(path, "channel", &close.channel, Some(&close.from));
            }
            OpKind::Restart(restart) => {
                self.party(&format!("{path}.party"), &restart.party);
                self.versions(&format!("{path}.versions"), restart.versions);
            }
        }
    }

    /// Whether the channel is a direct one, unless it is none at all.
    fn direct(&mut self, path: &str, id: &str) {
        if self.file.topology.virtuals.iter().any(|channel| channel.id == id) {
            let what = format!("expected a direct channel, found the virtual channel `{id}`");
            self.add(path, what);
        }
    }

    /// In a virtual channel money goes one way.
    fn virtual_payer(&mut self, path: &str, id: &str, from: &str) {
        let channel = self.file.topology.virtuals.iter().find(|channel| channel.id == id);
        if let Some(payer) = channel.and_then(|channel| channel.parties.first())
            && payer != from
        {
            self.add(path, format!("expected {id}'s payer `{payer}`, found `{from}`"));
        }
    }

    /// Whether the channel exists and `from` takes part in it.
    pub(super) fn channel_use(&mut self, path: &str, key: &str, id: &str, from: Option<&str>) {
        let topology = &self.file.topology;
        let direct = topology.channels.iter().find(|channel| channel.id == id);
        let parties: Vec<&str> = match direct {
            Some(channel) => vec![&channel.parties.0, &channel.parties.1],
            None => match topology.virtuals.iter().find(|channel| channel.id == id) {
                Some(channel) => channel.parties.iter().map(String::as_str).collect(),
                None => {
                    let what = unknown("a channel", id, &self.channel_ids());
                    return self.add(format!("{path}.{key}"), what);
                }
            },
        };
        if let Some(from) = from
            && !parties.contains(&from)
        {
            let what = unknown(&format!("a participant of {id}"), from, &parties);
            self.add(format!("{path}.from"), what);
        }
    }
}

/// The most payments of one operation: a plan lists them one by one.
const PAYMENTS_MAX: Count = Count(100_000);
