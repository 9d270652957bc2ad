//! The journal against crashes, damage and failing disks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::core::{Core, JournalOptions};
use super::disk::Disk;
use super::driver::Journal;
use super::error::JournalError;
use super::fault::{FaultDisk, Leaves};
use super::frame::{FRAME_HEAD, SEGMENT_HEAD, segment_name};
use super::host::{System, aside};
use proptest::prelude::*;
use std::sync::Arc;

const SMALL: JournalOptions = JournalOptions { segment_bytes: 200, max_frame_bytes: 100 };

fn open(disk: &FaultDisk) -> Result<Core, JournalError> {
    Core::open(Arc::new(disk.clone()), SMALL).map(|(core, _)| core)
}

fn frames(disk: &FaultDisk) -> Result<Vec<Vec<u8>>, JournalError> {
    let (journal, _) = Journal::over(Arc::new(disk.clone()), SMALL)?;
    let (first, next) = (journal.first_seq(), journal.next_seq());
    let read = journal.read(first, usize::MAX, usize::MAX)?;
    assert_eq!(read.len() as u64, next - first);
    for ((seq, _), expected) in read.iter().zip(first..) {
        assert_eq!(*seq, expected);
    }
    Ok(read.into_iter().map(|(_, bytes)| bytes).collect())
}

fn payload(n: usize) -> Vec<u8> {
    vec![n as u8; 10 + n % 30]
}

/// Appends and syncs one by one, trims once; answers how many were acknowledged and where it was trimmed.
fn workload(disk: &FaultDisk) -> (usize, bool) {
    let Ok(mut core) = open(disk) else { return (0, false) };
    let mut acknowledged = 0;
    let mut trimmed = false;
    for n in 0..24 {
        if n == 11 && core.begin_segment().is_err() {
            assert!(matches!(core.sync(), Err(JournalError::Poisoned)));
            return (acknowledged, trimmed);
        }
        if n == 16 {
            trimmed = true;
            if core.trim_front(6).is_err() {
                return (acknowledged, trimmed);
            }
        }
        if core.queue(&[payload(n)]).and_then(|_| core.sync()).is_err() {
            assert!(matches!(core.queue(&[payload(0)]), Err(JournalError::Poisoned)), "poisoned after a failure");
            assert!(matches!(core.sync(), Err(JournalError::Poisoned)));
            return (acknowledged, trimmed);
        }
        acknowledged += 1;
    }
    (acknowledged, trimmed)
}

/// What is on a disk after trouble: all acknowledged, in order, and at most the one under way in addition.
fn check(disk: &FaultDisk, acknowledged: usize, trimmed: bool, what: &str) {
    let (journal, _) = Journal::over(Arc::new(disk.clone()), SMALL).unwrap_or_else(|e| panic!("{what}: {e}"));
    let first = journal.first_seq() as usize;
    assert!(first == 0 || trimmed && first <= 6, "{what}: starts at {first}");
    drop(journal);
    let found = frames(disk).unwrap();
    let end = first + found.len();
    assert!(end == acknowledged || end == acknowledged + 1, "{what}: {end} frames, {acknowledged} acknowledged");
    for (n, bytes) in (first..).zip(&found) {
        assert_eq!(*bytes, payload(n), "{what}");
    }
}

#[test]
fn every_operation_fails_in_turn_in_both_ways() {
    let clean = FaultDisk::default();
    assert_eq!(workload(&clean), (24, true));
    check(&clean.after_power_cut(), 24, true, "no fault");
    for at in 0..clean.operations() {
        for leaves in [Leaves::Nothing, Leaves::Everything] {
            let disk = FaultDisk::default();
            disk.fail_at(at, leaves);
            let (acknowledged, trimmed) = workload(&disk);
            check(&disk.after_power_cut(), acknowledged, trimmed, &format!("power cut, operation {at} {leaves:?}"));
            check(&disk.after_kill(), acknowledged, trimmed, &format!("kill, operation {at} {leaves:?}"));
        }
    }
}

/// A kill leaves frames in the page cache that no sync confirmed. Whoever opens the journal may answer for them, so they
/// are durable then: a power cut afterwards takes none.
#[test]
fn what_recovery_shows_is_durable() {
    let disk = FaultDisk::default();
    let mut core = open(&disk).unwrap();
    core.queue(&[payload(1)]).and_then(|_| core.sync()).unwrap();
    core.queue(&[payload(2)]).unwrap();
    disk.fail_at(1, Leaves::Nothing);
    assert!(core.sync().is_err(), "killed before its sync");
    drop(core);
    let shown = frames(&disk).unwrap();
    assert_eq!(shown, [payload(1), payload(2)], "written, not synced");
    assert_eq!(frames(&disk.after_power_cut()).unwrap(), shown);
}

/// The disk of these tests renames as a file system does: a file takes its bytes along, and stands in another's place for
/// good only once the directory is synced.
#[test]
fn a_renamed_file_takes_its_place_with_the_directory() {
    let disk = FaultDisk::default();
    let write = |name: &str, bytes: &[u8]| {
        disk.create(name).unwrap();
        disk.append(name, bytes).unwrap();
        disk.sync(name).unwrap();
    };
    let read = |disk: &FaultDisk| disk.read_at("whole", 0, 9).unwrap();
    write("whole", b"old");
    disk.sync_dir().unwrap();
    write("aside", b"new");
    disk.rename("aside", "whole").unwrap();
    assert_eq!((read(&disk.after_kill()), read(&disk.after_power_cut())), (b"new".to_vec(), b"old".to_vec()));
    disk.sync_dir().unwrap();
    assert_eq!(read(&disk.after_power_cut()), b"new");
    assert_eq!(disk.after_power_cut().list().unwrap(), ["whole"]);
}

#[test]
fn a_torn_tail_is_cut_at_every_byte() {
    let disk = FaultDisk::default();
    let mut core = Core::open(Arc::new(disk.clone()), JournalOptions::default()).unwrap().0;
    let mut ends = vec![SEGMENT_HEAD];
    for n in 0..3 {
        core.queue(&[payload(n)]).unwrap();
        core.sync().unwrap();
        ends.push(ends[n] + FRAME_HEAD + payload(n).len());
    }
    drop(core);
    for len in SEGMENT_HEAD..=ends[3] {
        let cut = disk.after_kill();
        cut.edit(&segment_name(0), |bytes| bytes.truncate(len));
        let whole = ends.iter().filter(|e| **e <= len).count() - 1;
        assert_eq!(frames(&cut).unwrap(), (0..whole).map(payload).collect::<Vec<_>>(), "cut to {len}");
        // And it goes on from there.
        let mut core = open(&cut).unwrap();
        assert_eq!(core.queue(&[payload(9)]).unwrap(), whole as u64);
        core.sync().unwrap();
        drop(core);
        assert_eq!(frames(&cut).unwrap().last().unwrap(), &payload(9));
    }
}

#[test]
fn damage_before_sound_frames_is_refused() {
    let disk = FaultDisk::default();
    let mut core = Core::open(Arc::new(disk.clone()), JournalOptions::default()).unwrap().0;
    for n in 0..4 {
        core.queue(&[payload(n)]).unwrap();
        core.sync().unwrap();
    }
    drop(core);
    let before_last = SEGMENT_HEAD + (0..3).map(|n| FRAME_HEAD + payload(n).len()).sum::<usize>();
    for at in SEGMENT_HEAD..before_last {
        let bad = disk.after_kill();
        bad.edit(&segment_name(0), |bytes| bytes[at] ^= 0x40);
        assert!(matches!(frames(&bad), Err(JournalError::Corrupt { .. })), "flipped byte {at}");
    }
}

#[test]
fn a_missing_segment_is_a_hole() {
    let disk = FaultDisk::default();
    assert_eq!(workload(&disk), (24, true));
    let names = disk.list().unwrap();
    assert!(names.len() > 3);
    let holed = disk.after_kill();
    holed.remove(&names[1]).unwrap();
    assert!(matches!(frames(&holed), Err(JournalError::Corrupt { .. })));
}

#[test]
fn a_large_frame_is_refused_and_changes_nothing() {
    let disk = FaultDisk::default();
    let mut core = open(&disk).unwrap();
    let refused = core.queue(&[payload(1), vec![0; 101]]);
    assert!(matches!(refused, Err(JournalError::FrameTooLarge { bytes: 101, max: 100 })));
    assert_eq!(core.queue(&[payload(2)]).unwrap(), 0);
    core.sync().unwrap();
    assert_eq!(frames(&disk).unwrap(), [payload(2)]);
}

#[test]
fn a_real_directory_is_locked_and_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let (journal, _) = Journal::open(&System, &path, SMALL).unwrap();
    let threads: Vec<_> = (0..8u8)
        .map(|n| {
            let journal = journal.clone();
            std::thread::spawn(move || journal.append_blocking(vec![vec![n; 5], vec![n; 6]]).unwrap())
        })
        .collect();
    let mut firsts: Vec<u64> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    firsts.sort_unstable();
    assert_eq!(firsts, (0..8).map(|n| n * 2).collect::<Vec<u64>>());
    assert!(matches!(Journal::open(&System, &path, SMALL), Err(JournalError::Io { .. })), "locked");
    let before = journal.read(0, 100, 1 << 20).unwrap();
    assert_eq!(before.len(), 16);
    assert!(before.chunks(2).all(|pair| pair[0].1[0] == pair[1].1[0]), "a submission stays together");
    assert_eq!(journal.read(3, 1, 1 << 20).unwrap(), [before[3].clone()]);
    drop(journal);
    let (again, recovery) = Journal::open(&System, &path, SMALL).unwrap();
    assert_eq!((recovery.next_seq, recovery.cut_bytes), (16, 0));
    assert_eq!(again.read(0, 100, 1 << 20).unwrap(), before);
}

/// Frames are found from marks as they are from the beginning, over segments and after some of them are gone.
#[test]
fn reading_from_anywhere_finds_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(&System, &dir.path().join("j"), SMALL).unwrap();
    let frames: Vec<Vec<u8>> = (0..500u32).map(|n| n.to_be_bytes().repeat(1 + n as usize % 3)).collect();
    for some in frames.chunks(7) {
        journal.append_blocking(some.to_vec()).unwrap();
        let at = journal.next_seq() - 1;
        assert_eq!(journal.read(at, 1, 1).unwrap(), [(at, frames[at as usize].clone())]);
    }
    let all = |from: u64| (from..500).map(|n| (n, frames[n as usize].clone())).collect::<Vec<_>>();
    for from in [0, 499, 63, 64, 65, 1, 300, 128, 299, 0] {
        assert_eq!(journal.read(from, 1_000, 1 << 20).unwrap(), all(from));
    }
    journal.trim_front(200).unwrap();
    let first = journal.first_seq();
    assert!(first > 0 && first <= 200);
    for from in [200, first, 210, 450] {
        assert_eq!(journal.read(from, 1_000, 1 << 20).unwrap(), all(from));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Vec<u8>>),
    Trim(u64),
    Begin,
    PowerCut,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let frames = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..4);
    prop::collection::vec(
        prop_oneof![4 => frames.prop_map(Step::Append), 1 => (0u64..40).prop_map(Step::Trim), 1 => Just(Step::Begin), 1 => Just(Step::PowerCut)],
        1..40,
    )
}

proptest! {
    #[test]
    fn behaves_like_a_vector(steps in steps()) {
        let mut disk = FaultDisk::default();
        let mut core = open(&disk).unwrap();
        let mut model: Vec<Vec<u8>> = Vec::new();
        for step in steps {
            match step {
                Step::Append(frames) => {
                    prop_assert_eq!(core.queue(&frames).unwrap(), model.len() as u64);
                    core.sync().unwrap();
                    model.extend(frames);
                }
                Step::Trim(to) => core.trim_front(to).unwrap(),
                Step::Begin => core.begin_segment().unwrap(),
                Step::PowerCut => {
                    disk = disk.after_power_cut();
                    core = open(&disk).unwrap();
                }
            }
            let found = frames(&disk.after_power_cut()).unwrap();
            prop_assert!(model.ends_with(&found));
        }
    }
}

/// Whoever waits is told of the outcome, and of a panic as of none.
#[tokio::test]
async fn what_blocks_is_done_aside() {
    let here = std::thread::current().id();
    assert_ne!(aside(&System, || std::thread::current().id()).await, Some(here));
    assert_eq!(aside(&System, || 7).await, Some(7));
    assert_eq!(aside::<u8>(&System, || panic!("meant")).await, None);
}
