//! Padding to size buckets, so that a ciphertext's length says little about its text.
//!
//! Buckets are 512, 768, 1024, 1536, 2048, … : each power of two from 512 and the same times one and a half,
//! up to 24 MiB. At most half is added above 512 bytes, and a size reveals one of 32 classes. The padded text is
//! the length (32 bits, big-endian), the text, and zeros; anything else is refused.

use super::error::SealError;
use zeroize::Zeroizing;

/// The largest bucket, in bytes.
pub const PADDED_BYTES: usize = 24 << 20;
const SMALLEST: usize = 512;
pub(super) const PREFIX: usize = 4;

/// The smallest bucket that holds `bytes` (which includes the length prefix); none above 24 MiB.
pub fn bucket(bytes: usize) -> Option<usize> {
    if bytes > PADDED_BYTES {
        return None;
    }
    let power = bytes.max(SMALLEST).next_power_of_two();
    let between = power / 4 * 3;
    Some(if between >= bytes && between > SMALLEST { between } else { power })
}

/// Adds the length prefix and zeros.
pub fn pad(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let over = SealError::Limit { what: "size of the text" };
    let size = text.len().checked_add(PREFIX).and_then(bucket).ok_or(over.clone())?;
    let mut out = Zeroizing::new(Vec::<u8>::with_capacity(size));
    out.extend_from_slice(&u32::try_from(text.len()).map_err(|_| over)?.to_be_bytes());
    out.extend_from_slice(text);
    out.resize(size, 0);
    Ok(out)
}

/// Length of the padded form of a text.
pub(super) fn padded_len(text: usize) -> Result<usize, SealError> {
    text.checked_add(PREFIX).and_then(bucket).ok_or(SealError::Limit { what: "size of the text" })
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
    (length.checked_add(PREFIX).and_then(bucket) == Some(size)).then_some(length)
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
    if bucket(PREFIX + length) != Some(padded.len()) || zeros.iter().any(|b| *b != 0) {
        return Err(wrong());
    }
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_the_documented_ones() {
        let sizes: std::collections::BTreeSet<_> = (0..=PADDED_BYTES).step_by(61).filter_map(bucket).collect();
        let mut expected: Vec<usize> = (9..=24).flat_map(|k| [1 << k, 3 << (k - 1)]).collect();
        expected.retain(|s| *s <= PADDED_BYTES);
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), expected);
        for (bytes, size) in [(0, 512), (512, 512), (513, 768), (768, 768), (769, 1024), (1025, 1536), (1537, 2048)] {
            assert_eq!(bucket(bytes), Some(size), "{bytes}");
        }
        assert_eq!(bucket(PADDED_BYTES), Some(PADDED_BYTES));
        assert_eq!(bucket(PADDED_BYTES + 1), None);
    }

    #[test]
    fn padding_round_trips_and_has_one_form() {
        for n in [0, 1, 507, 508, 509, 764, 765, 70_000] {
            let text = vec![0xa5; n];
            let padded = pad(&text).unwrap();
            assert_eq!(bucket(padded.len()), Some(padded.len()));
            assert_eq!(*unpad(&padded).unwrap(), text);
            assert_eq!(padded_len(n).unwrap(), padded.len());
            assert_eq!(*unpad_whole(padded.clone()).unwrap(), text);
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
        let mut wide = pad(b"x").unwrap().to_vec();
        wide.resize(768, 0);
        assert!(unpad(&wide).is_err());
        assert!(unpad(&[0xff; 512]).is_err() && unpad(&[]).is_err());
        assert!(pad(&vec![0; PADDED_BYTES - 3]).is_err());
    }
}
