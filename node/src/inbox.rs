//! Everything that reaches a node's pump, in one bounded queue: inputs, commands with the place for their answer, and watchers.

use fairway_core::driver::Driver;
use fairway_core::effect::{Accepted, Refusal};
use fairway_core::input::{Command, Input};
use tokio::sync::{mpsc, oneshot};

/// The sending half.
#[derive(Clone)]
pub struct Inbox(mpsc::Sender<Inbound>);

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
pub fn inbox() -> (Inbox, mpsc::Receiver<Inbound>) {
    let (sender, receiver) = mpsc::channel(INBOX_MAX);
    (Inbox(sender), receiver)
}

impl Inbox {
    /// Offers an input that may be lost: whoever gives it will be asked again.
    ///
    /// # Errors
    /// [`Stopped`]. A full inbox is not an error.
    pub fn offer(&self, input: Input) -> Result<(), Stopped> {
        match self.0.try_send(Inbound::Input(input)) {
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Stopped),
        }
    }

    /// How many wait, and how many may.
    pub fn depth(&self) -> (usize, usize) {
        let most = self.0.max_capacity();
        (most.saturating_sub(self.0.capacity()), most)
    }

    /// Delivers, waiting for room.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn deliver(&self, inbound: Inbound) -> Result<(), Stopped> {
        self.0.send(inbound).await.map_err(|_| Stopped)
    }
}

/// Inputs that wait at most: two full answers of the chain endpoint's size and a burst of frames; more only adds delay.
const INBOX_MAX: usize = 256;
