//! Everything that reaches a node's pump, in two bounded queues: what comes from outside, and what the node's own user wants, which a flood
//! from outside cannot hold up. Each batch takes from both.

use fairway_core::driver::Driver;
use fairway_core::effect::{Accepted, Refusal};
use fairway_core::input::{Command, Input};
use tokio::sync::{mpsc, oneshot};

/// The sending half.
#[derive(Clone)]
pub struct Inbox {
    inputs: mpsc::Sender<Inbound>,
    /// Commands and watchers.
    asked: mpsc::Sender<Inbound>,
}

/// The receiving half.
pub struct Queue {
    inputs: mpsc::Receiver<Inbound>,
    asked: mpsc::Receiver<Inbound>,
}

/// One thing in the queue.
pub enum Inbound {
    /// Something that happened outside.
    Input(Input),
    /// The user wants something.
    Command(Command, oneshot::Sender<Answer>),
    /// Somebody wants to look whenever the node rests.
    Watch(Watcher),
}

/// The durable answer to a command.
pub type Answer = Result<Accepted, Refusal>;

/// Looks at a resting driver; says whether it has seen what it waited for.
pub type Watcher = Box<dyn FnMut(&Driver) -> Watched + Send>;

/// Whether a watcher is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// It need not be called again.
    Done,
    /// Call it at the next rest.
    NotYet,
}

/// The node has stopped; the question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has stopped")]
pub struct Stopped;

/// An inbox and the queue behind it.
pub fn inbox() -> (Inbox, Queue) {
    let (inputs, to_inputs) = mpsc::channel(INPUTS_MAX);
    let (asked, to_asked) = mpsc::channel(ASKED_MAX);
    (Inbox { inputs, asked }, Queue { inputs: to_inputs, asked: to_asked })
}

impl Inbox {
    /// Offers an input that may be lost: whoever gives it will be asked again.
    ///
    /// # Errors
    /// [`Stopped`]. A full inbox is not an error.
    pub fn offer(&self, input: Input) -> Result<(), Stopped> {
        match self.inputs.try_send(Inbound::Input(input)) {
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Stopped),
        }
    }

    /// How many inputs wait, and how many may.
    pub fn depth(&self) -> (usize, usize) {
        let most = self.inputs.max_capacity();
        (most.saturating_sub(self.inputs.capacity()), most)
    }

    /// Delivers, waiting for room.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn deliver(&self, inbound: Inbound) -> Result<(), Stopped> {
        let queue = match inbound {
            Inbound::Input(_) => &self.inputs,
            Inbound::Command(..) | Inbound::Watch(_) => &self.asked,
        };
        queue.send(inbound).await.map_err(|_| Stopped)
    }
}

impl Queue {
    /// Takes nothing more in; what waits can still be received.
    pub fn close(&mut self) {
        self.inputs.close();
        self.asked.close();
    }

    /// Whether it takes nothing more in.
    pub fn is_closed(&self) -> bool {
        self.inputs.is_closed()
    }

    /// Waits until something is there, and takes everything that is, up to a bound. Zero when nothing waits and nothing more can come.
    pub async fn receive(&mut self, batch: &mut Vec<Inbound>) -> usize {
        let (inputs, asked) = (INPUTS_BATCH_MAX, ASKED_MAX);
        let before = batch.len();
        let first = tokio::select! {
            biased;
            Some(first) = self.asked.recv() => first,
            Some(first) = self.inputs.recv() => first,
            else => return 0,
        };
        batch.push(first);
        take(&mut self.asked, batch, asked);
        take(&mut self.inputs, batch, inputs);
        batch.len().saturating_sub(before)
    }

    /// The next input, for tests and for relays.
    pub async fn next_input(&mut self) -> Option<Input> {
        match self.inputs.recv().await? {
            Inbound::Input(input) => Some(input),
            Inbound::Command(..) | Inbound::Watch(_) => unreachable!("they go the other way"),
        }
    }
}

/// Takes what is there already.
fn take(from: &mut mpsc::Receiver<Inbound>, batch: &mut Vec<Inbound>, most: usize) {
    batch.extend(std::iter::from_fn(|| from.try_recv().ok()).take(most));
}

/// Inputs that wait at most: two full answers of the chain endpoint's size and a burst of frames; more only adds delay.
const INPUTS_MAX: usize = 256;
/// Inputs that share one sync at most. Each may cost three signature checks: some twenty milliseconds together.
const INPUTS_BATCH_MAX: usize = 192;
/// Commands that wait, and that share one sync: each is small and costs microseconds, and payments among them share a voucher.
const ASKED_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Inbound {
        let channel = fairway_core::types::ChannelId::default();
        Inbound::Command(Command::Close { channel }, oneshot::channel().0)
    }

    /// Goal: a flood from outside does not keep the user out. Method: a full queue of inputs, and a command after them.
    #[tokio::test]
    async fn a_batch_takes_from_both_queues() {
        let (inbox, mut queue) = inbox();
        while inbox.depth().0 < INPUTS_MAX {
            inbox.offer(Input::Tick).unwrap();
        }
        inbox.offer(Input::Tick).unwrap();
        inbox.deliver(command()).await.unwrap();
        let mut batch = Vec::new();
        assert_eq!(queue.receive(&mut batch).await, 1 + INPUTS_BATCH_MAX);
        assert!(batch.iter().any(|i| matches!(i, Inbound::Command(..))));
        assert_eq!(queue.receive(&mut batch).await, INPUTS_MAX - INPUTS_BATCH_MAX);
    }

    #[tokio::test]
    async fn what_waits_in_a_closed_queue_is_still_received() {
        let (inbox, mut queue) = inbox();
        inbox.offer(Input::Tick).unwrap();
        inbox.deliver(command()).await.unwrap();
        queue.close();
        assert_eq!(inbox.offer(Input::Tick), Err(Stopped));
        assert_eq!(inbox.deliver(command()).await, Err(Stopped));
        let mut batch = Vec::new();
        assert_eq!(queue.receive(&mut batch).await, 2);
        assert_eq!(queue.receive(&mut batch).await, 0);
    }
}
