//! What journals and small files stand on: folders and threads of the operating system, or those of a simulation.

use super::disk::{Disk, RealDisk, free_bytes};
use super::error::JournalError;
use super::memory;
use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// What is done whenever a worker is woken. When it is dropped, nobody works any more.
pub type Work = Box<dyn FnMut() + Send>;

/// What is done once, and blocks.
pub type Once = Box<dyn FnOnce() + Send>;

/// A machine, as the rooms that keep something see it.
pub trait Host: Send + Sync + 'static {
    /// A folder, made if need be, and locked against a second opening.
    fn disk(&self, dir: &Path) -> Result<Arc<dyn Disk>, JournalError>;

    /// A folder that others use too: for small files beside theirs.
    fn files(&self, dir: &Path) -> Result<Arc<dyn Disk>, JournalError>;

    /// Bytes that may still be written where the folder is.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Bytes of memory that the process has.
    fn used_memory(&self) -> io::Result<u64>;

    /// Bytes of memory that there are for it.
    fn given_memory(&self) -> u64;

    /// Starts a worker; it works when it is woken, and never beside itself.
    fn start(&self, name: &str, work: Work) -> io::Result<Box<dyn Waker>>;

    /// Does once what blocks, away from the threads that answer calls. Inside a runtime; see [`aside`].
    fn aside(&self, work: Once) {
        drop(tokio::task::spawn_blocking(work));
    }
}

/// Does what blocks away from the threads that answer calls, and waits for it. None when it panicked.
pub async fn aside<T: Send + 'static>(host: &dyn Host, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, outcome) = oneshot::channel();
    host.aside(Box::new(move || drop(done.send(work()))));
    outcome.await.ok()
}

/// Wakes a worker. Dropping it ends the worker, after what was queued is done.
pub trait Waker: Send + Sync {
    /// There is work.
    fn wake(&self);

    /// There is work, and the caller will block until it is done.
    fn wake_and_wait(&self);
}

/// The operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Host for System {
    fn disk(&self, dir: &Path) -> Result<Arc<dyn Disk>, JournalError> {
        Ok(Arc::new(RealDisk::open(dir)?))
    }

    fn files(&self, dir: &Path) -> Result<Arc<dyn Disk>, JournalError> {
        Ok(Arc::new(RealDisk::beside_others(dir)?))
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        free_bytes(dir)
    }

    fn used_memory(&self) -> io::Result<u64> {
        memory::used()
    }

    fn given_memory(&self) -> u64 {
        memory::given()
    }

    fn start(&self, name: &str, mut work: Work) -> io::Result<Box<dyn Waker>> {
        // One token stands for any number of wakings: whoever works takes everything queued.
        let (token, tokens) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while tokens.recv().is_ok() {
                work();
            }
        })?;
        Ok(Box::new(Thread { token: Some(token), thread: Some(thread) }))
    }
}

struct Thread {
    token: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Waker for Thread {
    fn wake(&self) {
        // Full: it was woken already. Closed: its work is gone, and with it the queue, which tells the caller.
        let _ = self.token.as_ref().map(|token| token.try_send(()));
    }

    fn wake_and_wait(&self) {
        self.wake();
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.token.take());
        // The last handle may go inside the work, on the thread itself, which cannot wait for itself.
        if let Some(thread) = self.thread.take().filter(|t| t.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

/// A queue with somebody who works it off in batches. When the last handle is gone, what is queued is done first.
pub struct Worker<J> {
    jobs: mpsc::Sender<J>,
    waker: Box<dyn Waker>,
}

impl<J: Send + 'static> Worker<J> {
    /// Starts one; `work` gets everything queued, at most `most` jobs at a time.
    pub fn start(
        host: &dyn Host,
        name: &str,
        most: usize,
        mut work: impl FnMut(Vec<J>) + Send + 'static,
    ) -> io::Result<Worker<J>> {
        let (jobs, queue) = mpsc::channel();
        let all = move || {
            loop {
                let batch: Vec<J> = queue.try_iter().take(most).collect();
                if batch.is_empty() {
                    return;
                }
                work(batch);
            }
        };
        Ok(Worker { jobs, waker: host.start(name, Box::new(all))? })
    }

    /// Queues a job; it comes back if nobody works any more.
    pub fn send(&self, job: J) -> Result<(), J> {
        self.jobs.send(job).map_err(|mpsc::SendError(job)| job)?;
        self.waker.wake();
        Ok(())
    }

    /// The same for a caller that blocks until the job is done.
    pub fn send_and_wait(&self, job: J) -> Result<(), J> {
        self.jobs.send(job).map_err(|mpsc::SendError(job)| job)?;
        self.waker.wake_and_wait();
        Ok(())
    }
}
