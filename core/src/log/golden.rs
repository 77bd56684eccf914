//! The bytes of format 1 never change: logs written long ago are opened by every later version.
//!
//! `UPDATE_GOLDEN=1 cargo test -p fairway-core golden` writes `corpus/log/v1/` anew; only a new format version may need that.

extern crate std;

use std::path::{Path, PathBuf};
use std::{env, fs};

use alloc::string::ToString;

use super::testdisk::{TestDisk, append_synced, payload, payloads};
use super::walk::Files;
use super::{FileName, LogTail, open};
use crate::types::Lsn;

const SIZES: [usize; 6] = [0, 1, 200, 513, 64, 300];
const ROLL: u64 = 900;
/// The chain hash after the last batch, so that a change shows even where the files are written anew.
const HEAD: &str = "37be1967cf62f341813df72eccc0780cc3f58314448aef6d7a10e6a91a935031";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/log/v1")
}

fn written() -> TestDisk {
    let (mut disk, mut tail) = (TestDisk::default(), LogTail::fresh().rolling_at(ROLL));
    for (i, bytes) in (1..).zip(SIZES) {
        append_synced(&mut disk, &mut tail, i, bytes);
    }
    assert_eq!(tail.head().to_string(), HEAD);
    disk
}

fn stored() -> Files {
    let entries = fs::read_dir(folder()).expect("corpus/log/v1 is part of the repository");
    let paths = entries.map(|entry| entry.expect("a readable entry").path());
    let named = paths.filter_map(|path| {
        let name = FileName::parse(path.file_name()?.to_str()?)?;
        Some((name, fs::read(path).expect("a readable file")))
    });
    named.collect()
}

#[test]
fn golden_files_of_format_1_are_written_as_ever() {
    let disk = written();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(folder()).expect("a writable work tree");
        for (name, bytes) in &disk.now {
            fs::write(folder().join(name.to_string()), bytes).expect("a writable work tree");
        }
    }
    assert_eq!(stored(), disk.now);
}

#[test]
fn golden_files_of_format_1_are_read_as_ever() {
    let files = stored();
    let opened = open(&files).expect("a golden log opens");
    let expected: alloc::vec::Vec<_> =
        (1..).zip(SIZES).map(|(i, bytes)| payload(i, bytes)).collect();
    assert_eq!(payloads(&opened), expected);
    assert_eq!(opened.tail.end(), Lsn(12));
    assert_eq!(opened.findings, []);
}
