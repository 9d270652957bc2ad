#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::super::batch::sign_batch;
use super::super::frozen::Counter;
use super::super::sign::SigningKey;
use super::*;

fn ids() -> EnvelopeIds {
    EnvelopeIds {
        id: RecordId::from_bytes([3; 16]),
        version: 1,
        originator: "customs".parse().unwrap(),
        node: NodeId(7),
        created: Millis(1_700_000_000_000),
    }
}

fn sealed(texts: &[&[u8]], ids: &EnvelopeIds, e: &mut Counter) -> (Envelope, Vec<DataKey>, PublicKey) {
    let key = SigningKey::from_seed(&[5; 32]).unwrap();
    let portions: Vec<_> = texts.iter().map(|text| PortionPlain { media_type: "text/plain", text }).collect();
    let (draft, keys) = EnvelopeDraft::seal(&portions, ids, e).unwrap();
    let commitment = draft.commitment();
    let proof = sign_batch(&key, &[[1; 32], draft.hash(), [2; 32]]).remove(1);
    let envelope = draft.attach(proof);
    assert_eq!(envelope.commitment(), commitment);
    (envelope, keys, key.public())
}

#[test]
fn portions_open_with_their_own_keys_only() {
    let texts: [&[u8]; 3] = [b"meta", b"", &[7; 100_000]];
    let (envelope, keys, public) = sealed(&texts, &ids(), &mut Counter::new());
    let read = Envelope::from_bytes(&envelope.to_bytes()).unwrap();
    assert_eq!(read, envelope);
    read.verify(&public).unwrap();
    assert!(read.verify(&SigningKey::from_seed(&[6; 32]).unwrap().public()).is_err());
    for (i, text) in texts.iter().enumerate() {
        for (k, key) in keys.iter().enumerate() {
            let opened = open_portion(&read, i, key);
            if i == k {
                read.check_key(i, key).unwrap();
                assert_eq!(opened.unwrap().as_slice(), *text);
            } else {
                assert_eq!(opened.unwrap_err(), SealError::Commitment { what: "data key" });
            }
        }
    }
    assert!(matches!(open_portion(&read, 3, &keys[0]), Err(SealError::Missing { .. })));
}

#[test]
fn a_flipped_bit_in_any_byte_is_found() {
    let (envelope, keys, public) = sealed(&[b"meta", b"body"], &ids(), &mut Counter::new());
    let commitment = envelope.commitment();
    let bytes = envelope.to_bytes();
    let accepted = |b: &[u8]| {
        Envelope::from_bytes(b).is_ok_and(|e| {
            e.commitment() == commitment && e.verify(&public).is_ok() && open_portion(&e, 1, &keys[1]).is_ok()
        })
    };
    assert!(accepted(&bytes));
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(!accepted(&bad), "byte {at}");
    }
    for cut in (0..bytes.len()).step_by(97) {
        assert!(Envelope::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn swapped_portions_are_refused_at_every_layer() {
    let (envelope, keys, _) = sealed(&[b"one", b"two"], &ids(), &mut Counter::new());
    let mut swapped = envelope.clone();
    swapped.ciphertexts.swap(0, 1);
    assert!(Envelope::from_bytes(&swapped.to_bytes()).is_err());
    // Even with hashes and commitments to match, the chunks know their portion.
    swapped.header.portions.swap(0, 1);
    let read = Envelope::from_bytes(&swapped.to_bytes()).unwrap();
    assert_eq!(open_portion(&read, 0, &keys[1]).unwrap_err(), SealError::Open { step: "portion" });
}

#[test]
fn ciphertexts_of_another_header_are_refused() {
    let mut next = ids();
    next.version = 2;
    let (first, keys, _) = sealed(&[b"text"], &ids(), &mut Counter::new());
    let (mut second, _, _) = sealed(&[b"text"], &next, &mut Counter::new());
    second.ciphertexts = first.ciphertexts.clone();
    second.header.portions = first.header.portions.clone();
    let read = Envelope::from_bytes(&second.to_bytes()).unwrap();
    assert_eq!(open_portion(&read, 0, &keys[0]).unwrap_err(), SealError::Commitment { what: "data key" });
    // A signer who lies about the commitment too still gets nothing opened.
    let mut lying = read.clone();
    lying.header.portions[0].key_commitment = key_commitment(keys[0].bytes(), &lying.header.context());
    let lying = Envelope::from_bytes(&lying.to_bytes()).unwrap();
    assert_eq!(open_portion(&lying, 0, &keys[0]).unwrap_err(), SealError::Open { step: "portion" });
}

#[test]
fn limits_hold_for_writer_and_reader() {
    let mut e = Counter::new();
    let mut seal = |texts: &[&[u8]]| {
        let portions: Vec<_> = texts.iter().map(|text| PortionPlain { media_type: "text/plain", text }).collect();
        EnvelopeDraft::seal(&portions, &ids(), &mut e).map(|_| ())
    };
    let big = vec![0u8; limits::BODY_BYTES];
    assert!(seal(&[b"meta", &big]).is_ok());
    assert_eq!(seal(&[&big, &big]).unwrap_err(), over_limit());
    assert!(seal(&[]).is_err());
    assert!(seal(&[b"x".as_slice(); limits::PORTIONS]).is_ok());
    assert!(seal(&[b"x".as_slice(); limits::PORTIONS + 1]).is_err());
    let bad = [PortionPlain { media_type: "no media type", text: b"x" }];
    assert!(EnvelopeDraft::seal(&bad, &ids(), &mut Counter::new()).is_err());
}

#[test]
fn sealing_the_same_text_twice_shares_nothing() {
    let mut e = Counter::new();
    let (one, _, _) = sealed(&[b"text"], &ids(), &mut e);
    let (two, keys, _) = sealed(&[b"text"], &ids(), &mut e);
    assert_ne!(one.ciphertexts, two.ciphertexts);
    assert_ne!(one.commitment(), two.commitment());
    assert!(open_portion(&one, 0, &keys[0]).is_err());
}
