//! Frames of the intake journal: what lies where, and what the index needs of it.

use super::files::Place;
use super::intake::Entry;
use super::large::Apart;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::RecordId;

const DOMAIN: &str = "hufu.vault.intake";
/// The first version of a frame had no digest of imports.
const FIRST: u16 = 1;
/// Of every object that needs no later version.
const PLAIN: u16 = 2;
/// Says behind the rest what became of a proposal.
const PROPOSAL: u16 = 3;
/// Of an object whose ciphertexts lie apart: says behind the rest whether it is a proposal, and where they lie.
const LARGE: u16 = 4;

const AUDIENCE: &str = "hufu.vault.audience";

/// Says where an audience object lies that later blobs name.
pub(super) fn write_audience(name: &[u8; 32], place: &Place) -> Vec<u8> {
    let mut w = Writer::new(AUDIENCE, 1);
    w.array(name);
    write_place(&mut w, place);
    w.finish()
}

/// Reads it; none when the frame is of an object.
pub(super) fn read_audience(bytes: &[u8]) -> Result<Option<([u8; 32], Place)>, CanonError> {
    let Ok(mut r) = Reader::new(bytes, AUDIENCE, 1) else { return Ok(None) };
    let read = (r.array()?, read_place(&mut r)?);
    r.finish()?;
    Ok(Some(read))
}

fn write_place(w: &mut Writer, place: &Place) {
    w.u32(place.segment).u64(place.offset).u32(place.length).u64(place.slot);
}

fn read_place(r: &mut Reader<'_>) -> Result<Place, CanonError> {
    Ok(Place { segment: r.u32()?, offset: r.u64()?, length: r.u32()?, slot: r.u64()? })
}

pub(super) fn write_frame(key: &(RecordId, u32), e: &Entry) -> Vec<u8> {
    let version = match (&e.apart, &e.proposal) {
        (Some(_), _) => LARGE,
        (None, Some(_)) => PROPOSAL,
        (None, None) => PLAIN,
    };
    let mut w = Writer::new(DOMAIN, version);
    w.value(&key.0).u32(key.1).array(&e.header_hash).array(&e.commitment).array(&e.grant);
    w.list(e.pull_checks.iter(), |w, c| {
        w.array(c);
    });
    w.value(&e.at);
    w.option(e.request.as_ref(), |w, r| {
        w.array(r);
    });
    w.option(e.content.as_ref(), |w, c| {
        w.array(c);
    });
    write_place(&mut w, &e.place);
    match (&e.apart, &e.proposal) {
        (Some(apart), proposal) => {
            w.option(proposal.as_ref(), |w, p| {
                w.value(p);
            });
            w.u32(apart.file).u32(apart.bytes).u64(apart.slot);
        }
        (None, Some(proposal)) => {
            w.value(proposal);
        }
        (None, None) => {}
    }
    w.finish()
}

pub(super) fn read_frame(bytes: &[u8]) -> Result<((RecordId, u32), Entry), CanonError> {
    let known = [LARGE, PROPOSAL, PLAIN].into_iter().find_map(|v| Reader::new(bytes, DOMAIN, v).ok().map(|r| (r, v)));
    let (mut r, version) = match known {
        Some(known) => known,
        None => (Reader::new(bytes, DOMAIN, FIRST)?, FIRST),
    };
    let key = (RecordId::read(&mut r)?, r.u32()?);
    let entry = Entry {
        header_hash: r.array()?,
        commitment: r.array()?,
        grant: r.array()?,
        pull_checks: r.list(4096, |r| r.array())?,
        at: r.value()?,
        request: r.option(|r| r.array())?,
        content: if version == FIRST { None } else { r.option(|r| r.array())? },
        place: read_place(&mut r)?,
        proposal: match version {
            LARGE => r.option(|r| r.value())?,
            PROPOSAL => Some(r.value()?),
            _ => None,
        },
        apart: if version == LARGE { Some(Apart { file: r.u32()?, bytes: r.u32()?, slot: r.u64()? }) } else { None },
        damaged: false,
    };
    r.finish()?;
    Ok((key, entry))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;
    use crate::domain::ids::Handle;
    use crate::domain::time::Millis;
    use crate::vault::proposal::{Proposal, Stand};
    use data_encoding::HEXLOWER;

    /// Version 1: with a request, before there were digests of imports.
    const VERSION_1: &str = concat!(
        "00000011687566752e7661756c742e696e74616b65000109090909090909090909090909090909000000080101010101",
        "010101010101010101010101010101010101010101010101010101020202020202020202020202020202020202020202",
        "020202020202020202020203030303030303030303030303030303030303030303030303030303030303030000000204",
        "040404040404040404040404040404040404040404040404040404040404040505050505050505050505050505050505",
        "0505050505050505050505050505050000018bcfe5680001060606060606060606060606060606060606060606060606",
        "0606060606060606000000010000000000000002000000030000000000000004",
    );
    /// Version 2, with something in every field.
    const NOW: &str = concat!(
        "00000011687566752e7661756c742e696e74616b65000209090909090909090909090909090909000000080101010101",
        "010101010101010101010101010101010101010101010101010101020202020202020202020202020202020202020202",
        "020202020202020202020203030303030303030303030303030303030303030303030303030303030303030000000204",
        "040404040404040404040404040404040404040404040404040404040404040505050505050505050505050505050505",
        "0505050505050505050505050505050000018bcfe5680001060606060606060606060606060606060606060606060606",
        "060606060606060601070707070707070707070707070707070707070707070707070707070707070700000001000000",
        "0000000002000000030000000000000004",
    );
    /// Version 3: the same, of a proposal that a classifier signed.
    const PROPOSED: &str = concat!(
        "00000011687566752e7661756c742e696e74616b65000309090909090909090909090909090909000000080101010101",
        "010101010101010101010101010101010101010101010101010101020202020202020202020202020202020202020202",
        "020202020202020202020203030303030303030303030303030303030303030303030303030303030303030000000204",
        "040404040404040404040404040404040404040404040404040404040404040505050505050505050505050505050505",
        "0505050505050505050505050505050000018bcfe5680001060606060606060606060606060606060606060606060606",
        "060606060606060601070707070707070707070707070707070707070707070707070707070707070700000001000000",
        "0000000002000000030000000000000004070707070707070707070707070707070100000003010203",
    );
    /// Version 2, with nothing where nothing may be.
    const BARE: &str = concat!(
        "00000011687566752e7661756c742e696e74616b65000209090909090909090909090909090909000000080101010101",
        "010101010101010101010101010101010101010101010101010101020202020202020202020202020202020202020202",
        "020202020202020202020203030303030303030303030303030303030303030303030303030303030303030000000000",
        "00018bcfe568000000000000010000000000000002000000030000000000000004",
    );

    /// Version 4: the proposal, with its ciphertexts apart.
    const APART: &str = concat!(
        "00000011687566752e7661756c742e696e74616b65000409090909090909090909090909090909000000080101010101",
        "010101010101010101010101010101010101010101010101010101020202020202020202020202020202020202020202",
        "020202020202020202020203030303030303030303030303030303030303030303030303030303030303030000000204",
        "040404040404040404040404040404040404040404040404040404040404040505050505050505050505050505050505",
        "0505050505050505050505050505050000018bcfe5680001060606060606060606060606060606060606060606060606",
        "060606060606060601070707070707070707070707070707070707070707070707070707070707070700000001000000",
        "000000000200000003000000000000000401070707070707070707070707070707070100000003010203000000050000",
        "06000000000000000007",
    );
    /// Version 4, with nothing where nothing may be.
    const BARE_APART: &str = concat!(
        "00000011687566752e7661756c742e696e74616b65000409090909090909090909090909090909000000080101010101",
        "010101010101010101010101010101010101010101010101010101020202020202020202020202020202020202020202",
        "020202020202020202020203030303030303030303030303030303030303030303030303030303030303030000000000",
        "00018bcfe568000000000000010000000000000002000000030000000000000004000000000500000600000000000000",
        "0007",
    );

    /// Where an audience object lies, version 1.
    const NAMED: &str = concat!(
        "00000013687566752e7661756c742e61756469656e636500010808080808080808080808080808080808080808080808",
        "080808080808080808000000010000000000000002000000030000000000000004",
    );

    fn key() -> (RecordId, u32) {
        (RecordId::from_bytes([9; 16]), 8)
    }

    fn entry() -> Entry {
        Entry {
            header_hash: [1; 32],
            commitment: [2; 32],
            grant: [3; 32],
            pull_checks: vec![[4; 32], [5; 32]],
            at: Millis(1_700_000_000_000),
            request: Some([6; 32]),
            content: Some([7; 32]),
            proposal: None,
            place: Place { segment: 1, offset: 2, length: 3, slot: 4 },
            apart: None,
            damaged: false,
        }
    }

    fn proposed() -> Entry {
        let stand = Stand::Approved(vec![1, 2, 3]);
        Entry { proposal: Some(Proposal { author: Handle::from_bytes([7; 16]), stand }), ..entry() }
    }

    fn bare() -> Entry {
        Entry { pull_checks: Vec::new(), request: None, content: None, ..entry() }
    }

    fn apart(entry: Entry) -> Entry {
        Entry { apart: Some(Apart { file: 5, bytes: 0x600, slot: 7 }), ..entry }
    }

    fn frozen(hex: &str) -> Vec<u8> {
        HEXLOWER.decode(hex.as_bytes()).unwrap()
    }

    /// Frames never change: a journal of another age must open. The constants were computed apart from this code.
    #[test]
    fn frozen_bytes() {
        let cases = [
            ("NOW", NOW, entry()),
            ("PROPOSED", PROPOSED, proposed()),
            ("BARE", BARE, bare()),
            ("APART", APART, apart(proposed())),
            ("BARE, APART", BARE_APART, apart(bare())),
        ];
        for (name, constant, entry) in cases {
            let written = write_frame(&key(), &entry);
            assert_eq!(HEXLOWER.encode(&written), constant, "{name} is written otherwise");
            assert_eq!(read_frame(&written), Ok((key(), entry)), "{name}");
        }
    }

    #[test]
    fn frozen_bytes_of_an_audience() {
        let place = Place { segment: 1, offset: 2, length: 3, slot: 4 };
        let written = write_audience(&[8; 32], &place);
        assert_eq!(HEXLOWER.encode(&written), NAMED);
        assert_eq!(read_audience(&written), Ok(Some(([8; 32], place))));
        assert_eq!(read_audience(&frozen(NOW)), Ok(None), "a frame of an object");
        assert!(read_frame(&written).is_err());
        // What has its name has its form.
        let header = 4 + AUDIENCE.len() + 2;
        for cut in header..written.len() {
            assert!(read_audience(&written[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(read_audience(&[&written[..], &[0]].concat()), Err(CanonError::Trailing));
    }

    /// What version 1 wrote opens, without the digest that it did not have.
    #[test]
    fn the_first_version_opens() {
        assert_eq!(read_frame(&frozen(VERSION_1)), Ok((key(), Entry { content: None, ..entry() })));
    }

    #[test]
    fn what_nobody_wrote_is_refused() {
        for whole in [VERSION_1, NOW, PROPOSED, BARE, APART, BARE_APART].map(frozen) {
            for cut in 0..whole.len() {
                assert!(read_frame(&whole[..cut]).is_err(), "cut at {cut}");
            }
            assert_eq!(read_frame(&[&whole[..], &[0]].concat()), Err(CanonError::Trailing));
        }
        // The version stands behind the domain and its length.
        let mut next = frozen(NOW);
        next[4 + DOMAIN.len() + 1] = 5;
        assert_eq!(read_frame(&next), Err(CanonError::Header));
    }
}
