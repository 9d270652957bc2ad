//! Padding to size classes, so that a ciphertext's length says little about its text.
//!
//! The classes are those of PADMÉ (Nikitin, Barman, Lueks, Underwood, Hubaux, Ford: "Reducing Metadata Leakage from Encrypted
//! Files and Communication with PURBs", PoPETs 2019), from 256 bytes up to 24 MiB. The padded text is the length (32 bits,
//! big-endian), the text, and zeros; anything else is refused.
//!
//! There are coarse classes, too: each power of two from 512, and the same times one and a half. Letters have them, whose sizes
//! relays see and which stay for days, and everything had them that was sealed before decision 0027. They are sizes of PADMÉ as
//! well, so that a header may have any of them; a text opens in its own class of either kind and in no other.

use super::error::SealError;
use zeroize::Zeroizing;

/// The largest class, in bytes.
pub const PADDED_BYTES: usize = 24 << 20;
/// Titles and what else is said of a record are of one class, mostly.
const SMALLEST: usize = 256;
const SMALLEST_COARSE: usize = 512;
pub(super) const PREFIX: usize = 4;

/// How a text is padded: finely, or as it was before, for tests of what was sealed then.
pub(super) type Padding = fn(&[u8]) -> Result<Zeroizing<Vec<u8>>, SealError>;

/// The smallest class that holds `bytes` (which includes the length prefix); none above 24 MiB. With E = ⌊log2 bytes⌋ and
/// S = ⌊log2 E⌋ + 1, it is the next size whose lowest E − S bits are zero: above 256 bytes at most a sixteenth is added.
pub fn bucket(bytes: usize) -> Option<usize> {
    if bytes > PADDED_BYTES {
        return None;
    }
    let bytes = bytes.max(SMALLEST);
    let exponent = bytes.ilog2();
    // From 256 on the exponent is 8 at least, and has fewer bits than it counts.
    let zeros = exponent - (exponent.ilog2() + 1);
    Some(bytes.next_multiple_of(1 << zeros))
}

/// The smallest coarse class that holds them.
fn coarse_bucket(bytes: usize) -> Option<usize> {
    if bytes > PADDED_BYTES {
        return None;
    }
    let power = bytes.max(SMALLEST_COARSE).next_power_of_two();
    let between = power / 4 * 3;
    Some(if between >= bytes && between > SMALLEST_COARSE { between } else { power })
}

/// Whether a text of this length is padded to this size.
fn is_padded(text: usize, size: usize) -> bool {
    let fits = |bytes| bucket(bytes) == Some(size) || coarse_bucket(bytes) == Some(size);
    text.checked_add(PREFIX).is_some_and(fits)
}

/// Adds the length prefix and zeros.
pub fn pad(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    pad_to(text, padded_len(text.len())?)
}

/// The same to a coarse class: where those see sizes who are entitled to nothing.
pub fn pad_coarsely(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    pad_to(text, text.len().checked_add(PREFIX).and_then(coarse_bucket).ok_or_else(over_limit)?)
}

fn pad_to(text: &[u8], size: usize) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let length = u32::try_from(text.len()).map_err(|_| over_limit())?;
    let mut out = Zeroizing::new(Vec::<u8>::with_capacity(size));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text);
    out.resize(size, 0);
    Ok(out)
}

/// Length of the padded form of a text.
pub(super) fn padded_len(text: usize) -> Result<usize, SealError> {
    text.checked_add(PREFIX).and_then(bucket).ok_or_else(over_limit)
}

fn over_limit() -> SealError {
    SealError::Limit { what: "size of the text" }
}

/// Takes the text out again.
pub fn unpad(padded: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    Ok(Zeroizing::new(text_of(padded)?.to_vec()))
}

/// The same without a copy.
pub(super) fn unpad_whole(mut padded: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let length = text_of(&padded)?.len();
    padded.truncate(PREFIX + length);
    padded.drain(..PREFIX);
    Ok(padded)
}

/// The first `most` bytes of a text, or all of it, when only the beginning of its padded form is there. What follows is not
/// looked at.
pub(super) fn beginning(mut padded: Zeroizing<Vec<u8>>, most: usize) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let wrong = || SealError::Open { step: "padding" };
    let (prefix, rest) = padded.split_first_chunk::<PREFIX>().ok_or_else(wrong)?;
    let length = usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| wrong())?.min(most);
    if length > rest.len() {
        return Err(wrong());
    }
    padded.truncate(PREFIX + length);
    padded.drain(..PREFIX);
    Ok(padded)
}

/// Length of the text whose padded form has `size` bytes and begins like this; none if no text is padded so.
pub(super) fn text_length(padded: &[u8], size: usize) -> Option<usize> {
    let (prefix, _) = padded.split_first_chunk::<PREFIX>()?;
    let length = usize::try_from(u32::from_be_bytes(*prefix)).ok()?;
    is_padded(length, size).then_some(length)
}

/// Bytes of the padded form that hold the first `most` bytes of the text.
pub(super) fn padded_beginning(most: usize) -> usize {
    most.saturating_add(PREFIX)
}

fn text_of(padded: &[u8]) -> Result<&[u8], SealError> {
    let wrong = || SealError::Open { step: "padding" };
    let (prefix, rest) = padded.split_first_chunk::<PREFIX>().ok_or_else(wrong)?;
    let length = usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| wrong())?;
    let (text, zeros) = rest.split_at_checked(length).ok_or_else(wrong)?;
    if !is_padded(length, padded.len()) || zeros.iter().any(|b| *b != 0) {
        return Err(wrong());
    }
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// PADMÉ as the paper has it: the lowest E − S bits are rounded up to zero.
    fn padme(bytes: u64) -> u64 {
        let e = 63 - bytes.leading_zeros();
        let s = 31 - e.leading_zeros() + 1;
        let mask = (1u64 << (e - s)) - 1;
        (bytes + mask) & !mask
    }

    #[test]
    fn classes_are_those_of_padme() {
        let of = |bytes: usize| bucket(bytes).unwrap();
        let (mut size, mut classes) = (SMALLEST, 1);
        while size < PADDED_BYTES {
            let bytes = size + 1;
            let next = of(bytes);
            assert_eq!(next as u64, padme(bytes as u64), "{bytes}");
            assert!(of(next) == next && of(next - 1) == next, "every length between two classes has the upper one");
            assert!((next - bytes) * 16 < bytes, "at most a sixteenth is added to {bytes}");
            (size, classes) = (next, classes + 1);
        }
        assert_eq!((size, classes), (PADDED_BYTES, 401));
        assert_eq!(bucket(PADDED_BYTES + 1), None);
        // Computed elsewhere: small ones, meta and grant of usual size, a text of 1,350 bytes, and the largest texts.
        let known = [
            (0, 256),
            (134, 256),
            (256, 256),
            (257, 272),
            (384, 384),
            (385, 400),
            (512, 512),
            (513, 544),
            (1_354, 1_408),
            (65_537, 67_584),
            ((1 << 20) + 4, 1_081_344),
            ((16 << 20) + 4, 17_301_504),
        ];
        for (bytes, size) in known {
            assert_eq!(of(bytes), size, "{bytes}");
        }
    }

    #[test]
    fn coarse_classes_are_the_documented_ones_and_sizes_of_padme() {
        let sizes: BTreeSet<_> = (0..=PADDED_BYTES).step_by(61).filter_map(coarse_bucket).collect();
        let mut expected: Vec<usize> = (9..=24).flat_map(|k| [1 << k, 3 << (k - 1)]).collect();
        expected.retain(|s| *s <= PADDED_BYTES);
        assert!(expected.iter().all(|size| bucket(*size) == Some(*size)), "a header may have any of them");
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), expected);
        for (bytes, size) in [(0, 512), (512, 512), (513, 768), (768, 768), (769, 1024), (1025, 1536), (1537, 2048)] {
            assert_eq!(coarse_bucket(bytes), Some(size), "{bytes}");
        }
        assert_eq!((coarse_bucket(PADDED_BYTES), coarse_bucket(PADDED_BYTES + 1)), (Some(PADDED_BYTES), None));
    }

    #[test]
    fn padding_round_trips() {
        for (n, padding) in [0, 1, 251, 252, 253, 507, 508, 509, 764, 765, 70_000]
            .into_iter()
            .flat_map(|n| [(n, pad as Padding), (n, pad_coarsely as Padding)])
        {
            let text = vec![0xa5; n];
            let padded = padding(&text).unwrap();
            assert_eq!(bucket(padded.len()), Some(padded.len()));
            assert_eq!(*unpad(&padded).unwrap(), text);
            assert!(padded_len(n).unwrap() <= padded.len());
            assert_eq!(*unpad_whole(padded.clone()).unwrap(), text);
            assert_eq!(text_length(&padded, padded.len()), Some(n));
            for most in [0, 1, n, n + 1] {
                let there = padded_beginning(most).min(padded.len());
                let first = |there: usize| beginning(Zeroizing::new(padded[..there].to_vec()), most);
                assert_eq!(*first(there).unwrap(), text[..most.min(n)], "{most} of {n}");
                assert!(most.min(n) == 0 || first(PREFIX + most.min(n) - 1).is_err());
            }
            assert!(unpad(&padded[..padded.len() - 1]).is_err());
            if n + 4 < padded.len() {
                let mut bad = padded.to_vec();
                *bad.last_mut().unwrap() = 1;
                assert!(unpad(&bad).is_err(), "{n}");
            }
        }
        assert_eq!(pad(b"x").unwrap().len(), padded_len(1).unwrap());
        assert!(unpad(&[0xff; 512]).is_err() && unpad(&[]).is_err());
        assert!(pad(&vec![0; PADDED_BYTES - 3]).is_err() && pad_coarsely(&vec![0; PADDED_BYTES - 3]).is_err());
    }

    /// Of all sizes there are.
    #[test]
    fn a_text_opens_in_two_sizes_and_no_other() {
        for n in [0usize, 252, 253, 400, 508, 509, 1_000, 1_350, 2_044] {
            let both = BTreeSet::from([bucket(n + PREFIX).unwrap(), coarse_bucket(n + PREFIX).unwrap()]);
            let mut size = SMALLEST;
            let mut opened = BTreeSet::new();
            while size <= 4_096 {
                let mut padded = u32::try_from(n).unwrap().to_be_bytes().to_vec();
                padded.resize(size.max(n + PREFIX), 0);
                if unpad(&padded).is_ok() {
                    assert_eq!(text_length(&padded, padded.len()), Some(n));
                    opened.insert(padded.len());
                } else {
                    assert_eq!(text_length(&padded, padded.len()), None);
                }
                size = bucket(size + 1).unwrap();
            }
            assert_eq!(opened, both, "{n}");
        }
    }
}
