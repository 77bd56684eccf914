//! Lists come in pages: a cursor and a limit in, entries and the next cursor out.

use std::fmt::Display;
use std::str::FromStr;

use super::error::RpcError;

/// Most entries of one page.
pub const PAGE_MAX: u32 = 500;
/// Entries of a page whose asker names no limit.
pub const PAGE_DEFAULT: u32 = 100;

/// A page that was asked for, of entries with keys `K` in order.
#[derive(Clone, Copy, Debug)]
pub struct Page<K> {
    /// Everything up to this key was given before.
    pub after: Option<K>,
    /// Entries at most.
    pub limit: usize,
}

impl<K: FromStr> Page<K> {
    /// Reads what the caller asked for.
    ///
    /// # Errors
    /// The limit is 0 or above [`PAGE_MAX`], or the cursor is none of ours.
    pub fn parse(cursor: Option<&str>, limit: Option<u32>) -> Result<Page<K>, RpcError> {
        let limit = page_limit(limit)?;
        let foreign = |_| RpcError::params("cursor: take the `next` of the page before");
        let after = cursor.map(str::parse).transpose().map_err(foreign)?;
        Ok(Page { after, limit })
    }
}

impl<K: Display> Page<K> {
    /// Takes a page from `entries`, which are those behind the cursor; one is looked at beyond its end. Also the next cursor.
    pub fn take<T>(&self, entries: impl Iterator<Item = (K, T)>) -> (Vec<T>, Option<String>) {
        let mut entries = entries;
        let mut page = Vec::new();
        let mut last = None;
        while page.len() < self.limit {
            let Some((key, entry)) = entries.next() else { return (page, None) };
            page.push(entry);
            last = Some(key);
        }
        let more = entries.next().is_some();
        (page, last.filter(|_| more).map(|key| key.to_string()))
    }
}

/// Checks a limit.
///
/// # Errors
/// It is 0 or above [`PAGE_MAX`].
pub fn page_limit(limit: Option<u32>) -> Result<usize, RpcError> {
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    if limit == 0 || limit > PAGE_MAX {
        return Err(RpcError::params(format!("limit: expected 1 to {PAGE_MAX}")));
    }
    Ok(limit as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_everything_once() {
        for count in [0u32, 1, 2, 3, 4, 7] {
            let (mut cursor, mut seen) = (None, Vec::new());
            loop {
                let page = Page::<u32>::parse(cursor.as_deref(), Some(3)).unwrap();
                let from = page.after.map_or(0, |k| k + 1);
                let (mut part, next) = page.take((from..count).map(|k| (k, k)));
                seen.append(&mut part);
                cursor = next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn limits_are_kept() {
        for limit in [Some(0), Some(PAGE_MAX + 1), Some(u32::MAX)] {
            assert!(page_limit(limit).is_err(), "{limit:?}");
        }
        assert_eq!(page_limit(None).unwrap(), 100);
        assert_eq!(page_limit(Some(PAGE_MAX)).unwrap(), 500);
        assert!(Page::<u32>::parse(Some("x"), None).is_err());
    }
}
