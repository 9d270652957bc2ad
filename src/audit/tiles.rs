//! The C2SP tlog-tiles layout (c2sp.org/tlog-tiles): which files a log of some size has, and what is in them.
//!
//! Tiles hold 256 hashes, level 0 those of leaves, level `L` the roots of full tiles below. Entry bundles hold
//! 256 entries, each with a 16-bit length. Only the last file of a level may be shorter; its name says so.

use super::error::AuditError;
use super::merkle::{Hash, Tree};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Hashes of a full tile, entries of a full bundle.
pub(crate) const WIDTH: u64 = 256;
/// Where the checkpoint stands.
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// A file of the layout, other than the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Entries `index * 256` and following.
    Entries {
        /// Number of the bundle.
        index: u64,
        /// Entries in it, 1 to 256.
        width: u64,
    },
    /// Hashes `index * 256` and following of a level.
    Tile {
        /// Level, 0 to 7.
        level: u32,
        /// Number of the tile in its level.
        index: u64,
        /// Hashes in it, 1 to 256.
        width: u64,
    },
}

impl Resource {
    /// The path, with `/`: `tile/0/x001/234`, `tile/entries/000.p/7`.
    pub fn path(&self) -> String {
        match *self {
            Resource::Entries { index, width } => format!("tile/entries/{}{}", number(index), partial(width)),
            Resource::Tile { level, index, width } => format!("tile/{level}/{}{}", number(index), partial(width)),
        }
    }

    /// The first leaf, or hash of its level, and how many.
    pub fn span(&self) -> (u64, u64) {
        match *self {
            Resource::Entries { index, width } | Resource::Tile { index, width, .. } => {
                (index.saturating_mul(WIDTH), width)
            }
        }
    }

    /// The content of a tile by this tree; none when the tree is smaller, and none for entries.
    pub(crate) fn hashes<'t>(&self, tree: &'t Tree) -> Option<&'t [Hash]> {
        let (first, count) = self.span();
        match *self {
            Resource::Entries { .. } => None,
            Resource::Tile { level, .. } => tree.subtrees(level * 8, first, count),
        }
    }
}

/// Every file of a log of this size, bundles first, then tiles from level 0 upwards. Lazy: a hostile size costs
/// nothing until it is walked.
pub fn resources(size: u64) -> impl Iterator<Item = Resource> {
    let bundles = row(size).map(|(index, width)| Resource::Entries { index, width });
    let tiles = (0..8u32).flat_map(move |level| {
        row(size >> (8 * level)).map(move |(index, width)| Resource::Tile { level, index, width })
    });
    bundles.chain(tiles)
}

/// The parts of a row of `count` items: full ones, then what is left.
fn row(count: u64) -> impl Iterator<Item = (u64, u64)> {
    let (full, rest) = (count / WIDTH, count % WIDTH);
    (0..full).map(|index| (index, WIDTH)).chain((rest > 0).then_some((full, rest)))
}

/// Three-digit path elements, all but the last with an `x`.
fn number(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut above = index / 1000;
    while above > 0 {
        path = format!("x{:03}/{path}", above % 1000);
        above /= 1000;
    }
    path
}

fn partial(width: u64) -> String {
    if width == WIDTH { String::new() } else { format!(".p/{width}") }
}

/// The bytes of a bundle.
///
/// # Errors
/// [`AuditError::Field`] for an entry over 65,535 bytes.
pub fn encode_bundle<'e>(entries: impl IntoIterator<Item = &'e [u8]>) -> Result<Vec<u8>, AuditError> {
    let mut out = Vec::new();
    for entry in entries {
        let length = u16::try_from(entry.len()).map_err(|_| AuditError::Field("whole"))?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(entry);
    }
    Ok(out)
}

/// The entries of a bundle of exactly `width` entries; none when the bytes are anything else.
pub fn parse_bundle(bytes: &[u8], width: u64) -> Option<Vec<&[u8]>> {
    let mut rest = bytes;
    let mut entries = Vec::new();
    for _ in 0..width.min(WIDTH) {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (entry, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        rest = tail;
    }
    (rest.is_empty() && entries.len() as u64 == width).then_some(entries)
}

/// The bytes of a tile.
pub fn encode_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// The hashes of a tile of exactly `width` hashes; none when the bytes are anything else.
pub fn parse_tile(bytes: &[u8], width: u64) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() as u64 == width).then(|| hashes.to_vec())
}

/// Writes a file of an export below a directory, which must not have it yet.
///
/// # Errors
/// [`AuditError::Io`] for the file that failed.
pub fn write_file(dir: &Path, path: &str, content: &[u8]) -> Result<(), AuditError> {
    let io = |source| AuditError::Io { step: "write", path: path.to_owned(), source };
    let place = dir.join(path);
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).map_err(io)?;
    }
    File::create_new(&place).and_then(|mut f| f.write_all(content)).map_err(io)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_standard() {
        let path = |index, width| Resource::Tile { level: 3, index, width }.path();
        assert_eq!(path(1_234_067, 256), "tile/3/x001/x234/067");
        assert_eq!(path(0, 256), "tile/3/000");
        assert_eq!(path(1_000, 1), "tile/3/x001/000.p/1");
        assert_eq!(Resource::Entries { index: 7, width: 255 }.path(), "tile/entries/007.p/255");
    }

    #[test]
    fn a_log_of_70000_has_the_tiles_the_standard_lists() {
        let all: Vec<_> = resources(70_000).collect();
        let level = |l: u32| {
            all.iter()
                .filter_map(|r| match *r {
                    Resource::Tile { level, width, .. } if level == l => Some(width),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(level(0).len(), 274);
        assert_eq!(level(0).last(), Some(&112));
        assert_eq!(level(1), [256, 17]);
        assert_eq!(level(2), [1]);
        assert!(level(3).is_empty());
        assert_eq!(all.iter().filter(|r| matches!(r, Resource::Entries { .. })).count(), 274);
        let last: Vec<_> = resources(256).map(|r| r.path()).collect();
        assert_eq!(last, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(resources(0).count(), 0);
        assert_eq!(resources(u64::MAX).next(), Some(Resource::Entries { index: 0, width: 256 }));
    }

    #[test]
    fn bundles_and_tiles_parse_exactly() {
        let bytes = encode_bundle([b"ab".as_slice(), b"", b"c"]).unwrap();
        assert_eq!(parse_bundle(&bytes, 3).unwrap(), [b"ab".as_slice(), b"", b"c"]);
        assert!(parse_bundle(&bytes, 2).is_none() && parse_bundle(&bytes, 4).is_none());
        for cut in 0..bytes.len() {
            assert!(parse_bundle(bytes.get(..cut).unwrap(), 3).is_none(), "cut at {cut}");
        }
        assert!(encode_bundle([vec![0; 65_536].as_slice()]).is_err());
        let tile = encode_tile(&[[1; 32], [2; 32]]);
        assert_eq!(parse_tile(&tile, 2).unwrap(), [[1; 32], [2; 32]]);
        assert!(parse_tile(&tile, 1).is_none() && parse_tile(tile.get(1..).unwrap(), 2).is_none());
    }
}
