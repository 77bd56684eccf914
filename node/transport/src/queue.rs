//! What waits to be sent to one peer, and what its session must know.
//!
//! One end is the [`Handle`](crate::Handle), which must answer "queued" or "full" at once and from any
//! thread; the other is the session, on the network's task. That is why this is a mutex and not a value
//! that somebody owns. No lock is held across an await.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::session::DownReason;

/// A bounded queue of messages to one peer, with the orders to its session.
pub(crate) struct Outgoing {
    messages_max: usize,
    bytes_max: usize,
    inner: Mutex<Inner>,
    signal: Notify,
}

#[derive(Default)]
struct Inner {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
    close: Option<DownReason>,
    probe: bool,
    /// Nothing more is taken; what is there is still sent.
    last: bool,
    ended: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Push {
    Queued,
    Full,
    Ended,
}

/// What the session has to do besides sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Close(DownReason),
    Probe,
}

impl Outgoing {
    pub(crate) fn new(messages_max: usize, bytes_max: usize) -> Outgoing {
        Outgoing { messages_max, bytes_max, inner: Mutex::default(), signal: Notify::new() }
    }

    /// Queues `message` unless that would exceed a limit: the new one is dropped, because the older ones
    /// are what the peer waits for.
    pub(crate) fn push(&self, message: Vec<u8>) -> Push {
        let mut inner = self.lock();
        if inner.ended || inner.last || inner.close.is_some() {
            return Push::Ended;
        }
        let bytes = inner.bytes.saturating_add(message.len());
        if inner.messages.len() >= self.messages_max || bytes > self.bytes_max {
            return Push::Full;
        }
        inner.bytes = bytes;
        inner.messages.push_back(message);
        drop(inner);
        self.signal.notify_one();
        Push::Queued
    }

    pub(crate) fn pop(&self) -> Option<Vec<u8>> {
        let mut inner = self.lock();
        let message = inner.messages.pop_front()?;
        inner.bytes -= message.len();
        Some(message)
    }

    /// Asks the session to end. The first reason stays.
    pub(crate) fn close(&self, reason: DownReason) {
        self.lock().close.get_or_insert(reason);
        self.signal.notify_one();
    }

    /// Asks the session to end once it has sent what is queued.
    pub(crate) fn finish(&self) {
        self.lock().last = true;
        self.signal.notify_one();
    }

    /// Whether the session was asked to end and everything has been taken out.
    pub(crate) fn is_finished(&self) -> bool {
        let inner = self.lock();
        inner.last && inner.messages.is_empty()
    }

    /// Asks the session to prove that its peer is still there.
    pub(crate) fn probe(&self) {
        self.lock().probe = true;
        self.signal.notify_one();
    }

    /// The next order; a close stays for ever.
    pub(crate) fn order(&self) -> Option<Order> {
        let mut inner = self.lock();
        if let Some(reason) = inner.close {
            return Some(Order::Close(reason));
        }
        std::mem::take(&mut inner.probe).then_some(Order::Probe)
    }

    /// Whether the session is ending or has ended.
    pub(crate) fn is_over(&self) -> bool {
        let inner = self.lock();
        inner.ended || inner.close.is_some()
    }

    /// The session has ended: nothing is taken any more. Returns how many messages are lost.
    pub(crate) fn end(&self) -> u64 {
        let mut inner = self.lock();
        inner.ended = true;
        inner.bytes = 0;
        std::mem::take(&mut inner.messages).len() as u64
    }

    /// Completes when there may be a message or an order. Remembers one signal, so none is missed.
    pub(crate) async fn signalled(&self) {
        self.signal.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is complete before anything can panic, so a poisoned queue is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_holds_as_many_messages_as_it_may_and_no_more() {
        let queue = Outgoing::new(2, 100);
        assert_eq!(queue.push(vec![1]), Push::Queued);
        assert_eq!(queue.push(vec![2]), Push::Queued);
        assert_eq!(queue.push(vec![3]), Push::Full);
        assert_eq!(queue.pop(), Some(vec![1]));
        assert_eq!(queue.push(vec![4]), Push::Queued);
        assert_eq!([queue.pop(), queue.pop(), queue.pop()], [Some(vec![2]), Some(vec![4]), None]);
    }

    #[test]
    fn the_queue_holds_as_many_bytes_as_it_may_and_no_more() {
        let queue = Outgoing::new(10, 8);
        assert_eq!(queue.push(vec![0; 5]), Push::Queued);
        assert_eq!(queue.push(vec![0; 4]), Push::Full);
        assert_eq!(queue.push(vec![0; 3]), Push::Queued);
        assert_eq!(queue.push(vec![0; 1]), Push::Full);
        queue.pop();
        assert_eq!(queue.push(vec![0; 5]), Push::Queued);
    }

    #[test]
    fn an_ended_queue_takes_nothing_and_counts_its_loss() {
        let queue = Outgoing::new(10, 8);
        queue.push(vec![1]);
        queue.push(vec![2]);
        assert_eq!(queue.end(), 2);
        assert_eq!(queue.push(vec![3]), Push::Ended);
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn a_finished_queue_gives_what_it_has_and_takes_nothing() {
        let queue = Outgoing::new(9, 100);
        assert_eq!(queue.push(vec![1]), Push::Queued);
        queue.finish();
        assert_eq!(queue.push(vec![2]), Push::Ended);
        assert!(!queue.is_finished());
        assert_eq!(queue.pop(), Some(vec![1]));
        assert!(queue.is_finished());
    }

    #[test]
    fn the_first_reason_to_close_stays() {
        let queue = Outgoing::new(10, 8);
        queue.probe();
        assert_eq!(queue.order(), Some(Order::Probe));
        assert_eq!(queue.order(), None);
        queue.close(DownReason::Replaced);
        queue.close(DownReason::Disconnected);
        assert_eq!(queue.order(), Some(Order::Close(DownReason::Replaced)));
        assert_eq!(queue.push(vec![1]), Push::Ended);
    }
}
