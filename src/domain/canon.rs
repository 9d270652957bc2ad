//! The one canonical writer (P31): length-prefixed, big-endian, versioned.
//!
//! Two different values never have the same bytes, one value always has the same bytes, and a reader
//! accepts nothing that the writer would not have written (trailing bytes, unknown flags, lengths over
//! the caller's limit are errors). Nothing here allocates more than the input holds.

use thiserror::Error;

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CanonError {
    /// The input ended early.
    #[error("the bytes end early")]
    Truncated,
    /// Bytes are left after the value.
    #[error("there are bytes after the end of the value")]
    Trailing,
    /// A length is over the limit of its field.
    #[error("a length is over its limit")]
    TooLong,
    /// The domain or version at the start is not the expected one.
    #[error("the header names another format or version")]
    Header,
    /// A field holds a value outside its type.
    #[error("invalid {0}")]
    Invalid(&'static str),
}

/// A type with one canonical form.
pub trait Canon: Sized {
    /// Appends the canonical bytes.
    fn write(&self, w: &mut Writer);
    /// Reads exactly what [`Canon::write`] wrote.
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError>;

    /// The canonical bytes alone.
    fn to_canon(&self) -> Vec<u8> {
        let mut w = Writer::bare();
        self.write(&mut w);
        w.finish()
    }

    /// The value of exactly these bytes.
    fn from_canon(bytes: &[u8]) -> Result<Self, CanonError> {
        let mut r = Reader::bare(bytes);
        let value = Self::read(&mut r)?;
        r.finish()?;
        Ok(value)
    }
}

/// Appends canonical bytes.
#[derive(Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Starts a document: the domain string, then the format version.
    pub fn new(domain: &str, version: u16) -> Writer {
        let mut w = Writer::bare();
        w.str(domain).u16(version);
        w
    }

    /// Starts without a header, for values inside another document.
    pub fn bare() -> Writer {
        Writer::default()
    }

    /// The same, with room for so many bytes before it must grow.
    pub fn with_room(bytes: usize) -> Writer {
        Writer { out: Vec::with_capacity(bytes) }
    }

    /// One byte.
    pub fn u8(&mut self, v: u8) -> &mut Self {
        self.out.push(v);
        self
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self, v: u16) -> &mut Self {
        self.array(&v.to_be_bytes())
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self, v: u32) -> &mut Self {
        self.array(&v.to_be_bytes())
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self, v: u64) -> &mut Self {
        self.array(&v.to_be_bytes())
    }

    /// A boolean: 0 or 1.
    pub fn flag(&mut self, v: bool) -> &mut Self {
        self.u8(u8::from(v))
    }

    /// Bytes with a 32-bit length. Longer input is cut at 4 GiB by type, which no caller reaches.
    pub fn bytes(&mut self, v: &[u8]) -> &mut Self {
        self.length(v.len()).array(v)
    }

    /// UTF-8 text with a 32-bit length in bytes.
    pub fn str(&mut self, v: &str) -> &mut Self {
        self.bytes(v.as_bytes())
    }

    /// Bytes of a size fixed by the format, without a length.
    pub fn array(&mut self, v: &[u8]) -> &mut Self {
        self.out.extend_from_slice(v);
        self
    }

    /// A 32-bit count, then each item.
    pub fn list<T>(&mut self, items: impl ExactSizeIterator<Item = T>, mut f: impl FnMut(&mut Writer, T)) -> &mut Self {
        self.length(items.len());
        for item in items {
            f(self, item);
        }
        self
    }

    /// 0, or 1 and the value.
    pub fn option<T>(&mut self, v: Option<T>, f: impl FnOnce(&mut Writer, T)) -> &mut Self {
        match v {
            None => self.u8(0),
            Some(v) => {
                self.u8(1);
                f(self, v);
                self
            }
        }
    }

    /// A nested value.
    pub fn value<T: Canon>(&mut self, v: &T) -> &mut Self {
        v.write(self);
        self
    }

    /// Takes what was written.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn length(&mut self, n: usize) -> &mut Self {
        self.u32(u32::try_from(n).unwrap_or(u32::MAX))
    }
}

/// Reads canonical bytes, refusing everything else.
#[derive(Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Opens a document and checks its domain and version.
    pub fn new(bytes: &'a [u8], domain: &str, version: u16) -> Result<Reader<'a>, CanonError> {
        let mut r = Reader::bare(bytes);
        let named = r.str(domain.len()).map_err(|_| CanonError::Header)?;
        if named != domain || r.u16()? != version {
            return Err(CanonError::Header);
        }
        Ok(r)
    }

    /// Opens bytes without a header.
    pub fn bare(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, CanonError> {
        let [v] = self.array::<1>()?;
        Ok(v)
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self) -> Result<u16, CanonError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self) -> Result<u32, CanonError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self) -> Result<u64, CanonError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A boolean; anything but 0 and 1 is refused.
    pub fn flag(&mut self) -> Result<bool, CanonError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CanonError::Invalid("flag")),
        }
    }

    /// Bytes of at most `max`.
    pub fn bytes(&mut self, max: usize) -> Result<&'a [u8], CanonError> {
        let n = self.length()?;
        if n > max {
            return Err(CanonError::TooLong);
        }
        self.take(n)
    }

    /// Bytes of a size that follows from what was read before.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], CanonError> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(CanonError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    /// UTF-8 text of at most `max` bytes.
    pub fn str(&mut self, max: usize) -> Result<&'a str, CanonError> {
        std::str::from_utf8(self.bytes(max)?).map_err(|_| CanonError::Invalid("UTF-8"))
    }

    /// Bytes of a fixed size.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CanonError> {
        self.take(N)?.try_into().map_err(|_| CanonError::Truncated)
    }

    /// At most `max` items.
    pub fn list<T>(
        &mut self,
        max: usize,
        mut f: impl FnMut(&mut Reader<'a>) -> Result<T, CanonError>,
    ) -> Result<Vec<T>, CanonError> {
        let n = self.length()?;
        if n > max {
            return Err(CanonError::TooLong);
        }
        let mut items = Vec::with_capacity(n.min(self.rest.len()));
        for _ in 0..n {
            items.push(f(self)?);
        }
        Ok(items)
    }

    /// An optional value.
    pub fn option<T>(
        &mut self,
        f: impl FnOnce(&mut Reader<'a>) -> Result<T, CanonError>,
    ) -> Result<Option<T>, CanonError> {
        if self.flag()? { f(self).map(Some) } else { Ok(None) }
    }

    /// A nested value.
    pub fn value<T: Canon>(&mut self) -> Result<T, CanonError> {
        T::read(self)
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Ends the document; left-over bytes are an error.
    pub fn finish(self) -> Result<(), CanonError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CanonError::Trailing) }
    }

    fn length(&mut self) -> Result<usize, CanonError> {
        usize::try_from(self.u32()?).map_err(|_| CanonError::TooLong)
    }
}

/// Reads a set whose items must come in strictly rising order, so that one set has one form.
pub fn read_set<'a, T: Ord + Canon>(
    r: &mut Reader<'a>,
    max: usize,
) -> Result<std::collections::BTreeSet<T>, CanonError> {
    let items = r.list(max, T::read)?;
    if !items.is_sorted_by(|a, b| a < b) {
        return Err(CanonError::Invalid("order of a set"));
    }
    Ok(items.into_iter().collect())
}

/// Writes a set in its order.
pub fn write_set<T: Canon>(w: &mut Writer, set: &std::collections::BTreeSet<T>) {
    w.list(set.iter(), |w, v| v.write(w));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_every_truncation_is_refused() {
        let bytes = Writer::new("t", 3)
            .u8(1)
            .u64(9)
            .str("虎符")
            .option(Some(7u32), |w, v| {
                w.u32(v);
            })
            .finish();
        let read = |b: &[u8]| -> Result<(u8, u64, String, Option<u32>), CanonError> {
            let mut r = Reader::new(b, "t", 3)?;
            let v = (r.u8()?, r.u64()?, r.str(16)?.to_owned(), r.option(|r| r.u32())?);
            r.finish()?;
            Ok(v)
        };
        assert_eq!(read(&bytes).unwrap(), (1, 9, "虎符".to_owned(), Some(7)));
        for cut in 0..bytes.len() {
            assert!(read(bytes.get(..cut).unwrap()).is_err(), "cut at {cut}");
        }
        let mut long = bytes.clone();
        long.push(0);
        assert_eq!(read(&long), Err(CanonError::Trailing));
        assert!(Reader::new(&bytes, "t", 4).is_err());
        assert!(Reader::new(&bytes, "u", 3).is_err());
    }

    #[test]
    fn a_count_beyond_the_input_does_not_allocate() {
        let bytes = Writer::bare().u32(u32::MAX).finish();
        assert_eq!(Reader::bare(&bytes).list(10, |r| r.u8()), Err(CanonError::TooLong));
        assert_eq!(Reader::bare(&bytes).list(usize::MAX, |r| r.u8()), Err(CanonError::Truncated));
    }
}
