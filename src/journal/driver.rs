//! The driver: takes everything queued, one write, one sync, then wakes everybody.

use super::catalog::Catalog;
use super::core::{Core, JournalOptions};
use super::disk::Disk;
use super::error::JournalError;
#[cfg(test)]
use super::host::System;
use super::host::{Host, Worker};
use super::marks::Marks;
use super::meter::Meter;
use super::recover::Recovery;
use super::walk::{Step, Walk};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Instant;
use tokio::sync::oneshot;

/// Most submissions that share a sync.
const BATCH: usize = 4_096;

/// Runs on the writer's thread once the frames are durable, with the number of the first.
pub type Done = Box<dyn FnOnce(Result<u64, JournalError>) + Send>;

enum Order {
    Append(Vec<Vec<u8>>, Done),
    Trim(u64, mpsc::Sender<Result<(), JournalError>>),
    Begin(mpsc::Sender<Result<(), JournalError>>),
}

/// Handle to a journal. When the last handle is gone, everything queued is written and the directory let go.
#[derive(Clone)]
pub struct Journal {
    writer: Arc<Worker<Order>>,
    catalog: Catalog,
    disk: Arc<dyn Disk>,
    meter: Arc<Meter>,
    marks: Arc<Marks>,
}

impl Journal {
    /// Creates or recovers the journal in a directory and starts its writer.
    pub fn open(host: &dyn Host, dir: &Path, options: JournalOptions) -> Result<(Journal, Recovery), JournalError> {
        let name = dir.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Journal::on(host, host.disk(dir)?, options, Meter::of(name))
    }

    /// The same over any disk, with a thread.
    #[cfg(test)]
    pub(crate) fn over(disk: Arc<dyn Disk>, options: JournalOptions) -> Result<(Journal, Recovery), JournalError> {
        Journal::on(&System, disk, options, Meter::default())
    }

    fn on(
        host: &dyn Host,
        disk: Arc<dyn Disk>,
        options: JournalOptions,
        meter: Meter,
    ) -> Result<(Journal, Recovery), JournalError> {
        let (mut core, recovery) = Core::open(Arc::clone(&disk), options)?;
        let catalog = core.catalog();
        let meter = Arc::new(meter);
        let counts = Arc::clone(&meter);
        let writer = Worker::start(host, "journal", BATCH, move |orders| drive(&mut core, orders, &counts))
            .map_err(|e| JournalError::Io { step: "start the writer", source: Arc::new(e) })?;
        Ok((Journal { writer: Arc::new(writer), catalog, disk, meter, marks: Arc::default() }, recovery))
    }

    /// Appends frames; durable when it answers, with the number of the first.
    pub async fn append(&self, frames: Vec<Vec<u8>>) -> Result<u64, JournalError> {
        let (tx, rx) = oneshot::channel();
        self.submit(frames, Box::new(move |outcome| drop(tx.send(outcome))));
        rx.await.map_err(|_| JournalError::Closed)?
    }

    /// The same for threads that may block.
    pub fn append_blocking(&self, frames: Vec<Vec<u8>>) -> Result<u64, JournalError> {
        let (tx, rx) = mpsc::channel();
        self.wait_for(Order::Append(frames, Box::new(move |outcome| drop(tx.send(outcome)))), &rx)
    }

    /// Appends frames and calls back when they are durable. Submissions keep their order.
    pub fn submit(&self, frames: Vec<Vec<u8>>, done: Done) {
        if let Err(Order::Append(_, done)) = self.writer.send(Order::Append(frames, done)) {
            done(Err(JournalError::Closed));
        }
    }

    /// Durable frames from a number on: at most `max_frames`, and no more once `max_bytes` are reached, but at
    /// least one if there is any. Check and chain of each are verified.
    pub fn read(&self, from: u64, max_frames: usize, max_bytes: usize) -> Result<Vec<(u64, Vec<u8>)>, JournalError> {
        let (segments, next) = self.catalog.snapshot();
        let mut found = Vec::new();
        let mut bytes = 0;
        let start = segments.iter().rposition(|s| s.first.seq <= from).unwrap_or(0);
        for segment in segments.iter().skip(start) {
            let (offset, mut link) = self.marks.before(from, segment.first);
            let mut walk = Walk::new(self.disk.as_ref(), &segment.name, offset, segment.len);
            while link.seq < next {
                self.marks.note(segment.first, walk.offset(), link);
                match walk.next(link)? {
                    Step::End => break,
                    Step::Broken { at, reason, .. } => return Err(walk.corrupt(at, reason)),
                    Step::Frame(payload) => {
                        let behind = link.after(payload);
                        if link.seq >= from {
                            if found.len() >= max_frames || (bytes >= max_bytes && !found.is_empty()) {
                                return Ok(found);
                            }
                            bytes = bytes.saturating_add(payload.len());
                            found.push((link.seq, payload.to_vec()));
                        }
                        link = behind;
                    }
                }
            }
        }
        Ok(found)
    }

    /// What was written since the start. It does not keep the journal open.
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Number of the oldest frame.
    pub fn first_seq(&self) -> u64 {
        self.catalog.range().0
    }

    /// Number that the next frame gets; everything below is durable.
    pub fn next_seq(&self) -> u64 {
        self.catalog.range().1
    }

    /// Begins a segment behind everything queued so far. It blocks for the length of a sync.
    pub fn begin_segment(&self) -> Result<(), JournalError> {
        let (tx, rx) = mpsc::channel();
        self.wait_for(Order::Begin(tx), &rx)
    }

    /// Removes whole segments below `keep_from`.
    pub fn trim_front(&self, keep_from: u64) -> Result<(), JournalError> {
        let (tx, rx) = mpsc::channel();
        self.wait_for(Order::Trim(keep_from, tx), &rx)
    }

    /// Puts frames in the place of all that are here: durable in segments of their own before the first of the others goes. A
    /// crash in between leaves what was there, with some or all of the new frames behind it, so it is for frames that may come
    /// twice, and for a caller beside whom nobody writes. It blocks.
    pub fn replace_blocking(&self, batches: impl IntoIterator<Item = Vec<Vec<u8>>>) -> Result<(), JournalError> {
        self.begin_segment()?;
        let keep_from = self.next_seq();
        for frames in batches {
            self.append_blocking(frames)?;
        }
        self.trim_front(keep_from)
    }

    fn wait_for<T>(&self, order: Order, answer: &mpsc::Receiver<Result<T, JournalError>>) -> Result<T, JournalError> {
        self.writer.send_and_wait(order).map_err(|_| JournalError::Closed)?;
        answer.recv().map_err(|_| JournalError::Closed)?
    }
}

/// What one sync makes durable.
#[derive(Default)]
struct Group {
    waiting: Vec<(u64, Done)>,
    frames: usize,
}

/// One batch: written and synced together, unless an order stands between.
fn drive(core: &mut Core, orders: Vec<Order>, meter: &Meter) {
    let mut group = Group::default();
    for order in orders {
        match order {
            Order::Append(frames, done) => match core.queue(&frames) {
                Ok(seq) => {
                    group.waiting.push((seq, done));
                    group.frames += frames.len();
                }
                Err(e) => done(Err(e)),
            },
            Order::Trim(keep_from, done) => {
                let settled = group.settle(core, meter);
                let _ = done.send(settled.and_then(|()| meter.watched(core.trim_front(keep_from))));
            }
            Order::Begin(done) => {
                let settled = group.settle(core, meter);
                let _ = done.send(settled.and_then(|()| meter.watched(core.begin_segment())));
            }
        }
    }
    let _ = group.settle(core, meter);
}

impl Group {
    /// One sync for all that wait.
    fn settle(&mut self, core: &mut Core, meter: &Meter) -> Result<(), JournalError> {
        let began = Instant::now();
        let outcome = meter.watched(core.sync());
        let frames = std::mem::take(&mut self.frames);
        if frames > 0 && outcome.is_ok() {
            meter.committed(frames, began.elapsed());
        }
        for (seq, done) in self.waiting.drain(..) {
            done(outcome.clone().map(|()| seq));
        }
        outcome
    }
}
