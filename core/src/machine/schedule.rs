//! Keys with due times: what the node will do later. Volatile; a restart starts it anew.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::types::Timestamp;

/// At most one due time a key, ordered by time, then key.
#[derive(Clone, Debug)]
pub struct Schedule<K> {
    at: BTreeMap<K, Timestamp>,
    queue: BTreeSet<(Timestamp, K)>,
}

impl<K> Default for Schedule<K> {
    fn default() -> Self {
        Schedule { at: BTreeMap::new(), queue: BTreeSet::new() }
    }
}

impl<K: Clone + Ord> Schedule<K> {
    /// Sets the key's due time, replacing an earlier one.
    pub fn set(&mut self, key: K, at: Timestamp) {
        match self.at.get(&key) {
            Some(before) if *before == at => return,
            Some(_) => self.remove(&key),
            None => {}
        }
        self.queue.insert((at, key.clone()));
        self.at.insert(key, at);
    }

    /// Forgets the key.
    pub fn remove(&mut self, key: &K) {
        if let Some(at) = self.at.remove(key) {
            self.queue.remove(&(at, key.clone()));
        }
    }

    /// Whether the key has a due time.
    pub fn contains(&self, key: &K) -> bool {
        self.at.contains_key(key)
    }

    /// The earliest due time.
    pub fn first(&self) -> Option<Timestamp> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes out everything that is due.
    pub fn due(&mut self, now: Timestamp) -> alloc::vec::Vec<K> {
        let mut due = alloc::vec::Vec::new();
        while self.first().is_some_and(|at| at <= now) {
            if let Some((_, key)) = self.queue.pop_first() {
                self.at.remove(&key);
                due.push(key);
            }
        }
        due
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.at.keys()
    }
}
