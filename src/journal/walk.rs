//! Going through the frames of one segment file, checking each. Recovery and reading use the same walk.

use super::disk::Disk;
use super::error::{JournalError, io_at};
use super::frame::{FRAME_HEAD, Head, Link};

/// Bytes fetched at a time; more for a larger frame.
const CHUNK_BYTES: usize = 256 * 1024;

/// A position in the frames of one segment.
pub(super) struct Walk<'a> {
    disk: &'a dyn Disk,
    name: &'a str,
    offset: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

/// What the walk found at its position.
pub(super) enum Step<'w> {
    /// An intact frame at the right place in the chain: its payload. The walk stands behind it.
    Frame(&'w [u8]),
    /// The end, at a frame boundary.
    End,
    /// An incomplete or broken frame. The walk is over.
    Broken {
        /// Byte in the file where it starts.
        at: u64,
        /// Where later frames could start; `None` if this frame, by its own sound header, reaches the end.
        resume: Option<u64>,
        /// What is broken.
        reason: &'static str,
    },
}

impl<'a> Walk<'a> {
    /// A walk over the bytes `offset..end` of the file, starting at a frame boundary.
    pub fn new(disk: &'a dyn Disk, name: &'a str, offset: u64, end: u64) -> Walk<'a> {
        Walk { disk, name, offset, end, window: Vec::new(), window_at: offset }
    }

    /// The byte in the file where the next frame starts.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame, which must be the one at `link`. A sound header with another number or chain is
    /// [`JournalError::Corrupt`]: no crash leaves that behind.
    pub fn next(&mut self, link: Link) -> Result<Step<'_>, JournalError> {
        let at = self.offset;
        let left = self.end.saturating_sub(at);
        if left == 0 {
            return Ok(Step::End);
        }
        let Some(head) = Head::decode(self.peek(at, FRAME_HEAD as u64)?) else {
            return Ok(Step::Broken { at, resume: Some(at.saturating_add(1)), reason: "frame header is broken" });
        };
        if head.link != link {
            return Err(self.corrupt(at, "frame does not follow the one before it"));
        }
        let total = head.len.saturating_add(FRAME_HEAD as u64);
        if total > left {
            return Ok(Step::Broken { at, resume: None, reason: "frame is incomplete" });
        }
        let behind = at.saturating_add(total);
        self.offset = behind;
        let payload = self.peek(at, total)?.get(FRAME_HEAD..).unwrap_or_default();
        if head.admits(payload) {
            Ok(Step::Frame(payload))
        } else {
            Ok(Step::Broken { at, resume: Some(behind), reason: "frame fails its check" })
        }
    }

    /// The error for damage at this byte of this segment.
    pub fn corrupt(&self, offset: u64, reason: &'static str) -> JournalError {
        JournalError::Corrupt { segment: self.name.to_owned(), offset, reason }
    }

    /// The `want` bytes at `at`, or what is left before the end.
    fn peek(&mut self, at: u64, want: u64) -> Result<&[u8], JournalError> {
        let left = self.end.saturating_sub(at);
        let want = bounded(want.min(left));
        let mut skip = bounded(at.saturating_sub(self.window_at));
        if self.window.len() < skip.saturating_add(want) {
            let len = want.max(CHUNK_BYTES).min(bounded(left));
            self.window = self.disk.read_at(self.name, at, len).map_err(io_at("read segment"))?;
            self.window_at = at;
            skip = 0;
            if self.window.len() < want {
                return Err(self.corrupt(at, "file is shorter than it was"));
            }
        }
        Ok(self.window.get(skip..skip.saturating_add(want)).unwrap_or_default())
    }
}

/// Whether an intact frame, numbered above `after.seq`, starts anywhere in these bytes.
pub(super) fn holds_later_frame(bytes: &[u8], after: Link) -> bool {
    let highest = after.seq.saturating_add(bytes.len() as u64);
    let mut rest = bytes;
    while let Some((_, next)) = rest.split_first() {
        if let Some(seq) = rest.get(16..24).and_then(|field| field.first_chunk::<8>())
            && (after.seq..=highest).contains(&u64::from_be_bytes(*seq))
            && let Some(head) = Head::decode(rest)
            && let Some(payload) = rest.get(FRAME_HEAD..).and_then(|body| body.get(..bounded(head.len)))
            && head.admits(payload)
        {
            return true;
        }
        rest = next;
    }
    false
}

fn bounded(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}
