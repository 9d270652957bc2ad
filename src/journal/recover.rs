//! Opening after whatever happened: cut an incomplete end, refuse everything else that does not fit.

use super::catalog::Segment;
use super::disk::Disk;
use super::error::{JournalError, io_at};
use super::frame::{Link, SEGMENT_HEAD, decode_segment, is_segment, segment_seq};
use super::walk::{Step, Walk, holds_later_frame};

/// What opening found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// Number of the oldest frame.
    pub first_seq: u64,
    /// Number that the next frame gets.
    pub next_seq: u64,
    /// Bytes of an incomplete end that were cut.
    pub cut_bytes: u64,
}

/// The segments, the place behind the last frame, and what was cut.
pub(super) fn recover(disk: &dyn Disk) -> Result<(Vec<Segment>, Link, Recovery), JournalError> {
    let mut names: Vec<(u64, String)> = Vec::new();
    for name in disk.list().map_err(io_at("list directory"))?.into_iter().filter(|n| is_segment(n)) {
        let seq = segment_seq(&name).ok_or_else(|| corrupt(&name, 0, "not a name that this journal gives"))?;
        names.push((seq, name));
    }
    names.sort();
    let mut segments: Vec<Segment> = Vec::new();
    let mut link: Option<Link> = None;
    let mut cut = 0;
    let count = names.len();
    for (n, (seq, name)) in names.into_iter().enumerate() {
        let last = n + 1 == count;
        let size = disk.size(&name).map_err(io_at("size segment"))?;
        let head = disk.read_at(&name, 0, SEGMENT_HEAD).map_err(io_at("read segment header"))?;
        let Some(first) = decode_segment(&head) else {
            // Only a last segment that was being made can have no sound header; nothing was answered from it.
            if last && size <= SEGMENT_HEAD as u64 && (seq == 0 || link.is_some_and(|l| l.seq == seq)) {
                disk.remove(&name).map_err(io_at("remove an unfinished segment"))?;
                disk.sync_dir().map_err(io_at("sync directory"))?;
                cut = size;
                break;
            }
            return Err(corrupt(&name, 0, "segment header is broken"));
        };
        if first.seq != seq || link.is_some_and(|l| l != first) {
            return Err(corrupt(&name, 0, "segment does not follow the one before it"));
        }
        let (end, behind) = walk(disk, &name, first, size, last)?;
        if end < size {
            disk.truncate(&name, end).map_err(io_at("cut segment"))?;
            disk.sync(&name).map_err(io_at("sync cut segment"))?;
            disk.sync_dir().map_err(io_at("sync directory"))?;
            cut = size.saturating_sub(end);
        }
        link = Some(behind);
        segments.push(Segment { first, name, len: end });
    }
    // What is read here is answered for as durable: a kill may have left it in the page cache alone.
    if let Some(last) = segments.last() {
        disk.sync(&last.name).map_err(io_at("sync the last segment"))?;
        disk.sync_dir().map_err(io_at("sync directory"))?;
    }
    let next = link.unwrap_or(Link::START);
    let first_seq = segments.first().map_or(next.seq, |s| s.first.seq);
    Ok((segments, next, Recovery { first_seq, next_seq: next.seq, cut_bytes: cut }))
}

/// Goes through a segment; answers the length of its sound part and the place behind it.
fn walk(disk: &dyn Disk, name: &str, first: Link, size: u64, last: bool) -> Result<(u64, Link), JournalError> {
    let mut walk = Walk::new(disk, name, SEGMENT_HEAD as u64, size);
    let mut link = first;
    loop {
        let offset = walk.offset();
        let (at, resume, reason) = match walk.next(link)? {
            Step::Frame(payload) => {
                link = link.after(payload);
                continue;
            }
            Step::End => return Ok((offset, link)),
            Step::Broken { at, resume, reason } => (at, resume, reason),
        };
        if !last {
            return Err(corrupt(name, at, reason));
        }
        if let Some(resume) = resume {
            let left = usize::try_from(size.saturating_sub(resume)).unwrap_or(usize::MAX);
            let rest = disk.read_at(name, resume, left).map_err(io_at("read the end of the segment"))?;
            if holds_later_frame(&rest, link) {
                return Err(corrupt(name, at, "a broken frame stands before a sound one"));
            }
        }
        return Ok((at, link));
    }
}

fn corrupt(name: &str, offset: u64, reason: &'static str) -> JournalError {
    JournalError::Corrupt { segment: name.to_owned(), offset, reason }
}
