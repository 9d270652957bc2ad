#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::super::batch::sign_batch;
use super::super::content::ContentCheck;
use super::super::frozen::Counter;
use super::super::pad::pad_coarsely;
use super::super::sign::SigningKey;
use super::super::text::open_portion_pieces;
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

/// What was sealed apart, with its ciphertexts one behind the other.
fn apart(texts: &[&[u8]], e: &mut Counter) -> (Envelope, Vec<DataKey>, Vec<u8>) {
    let portions: Vec<_> = texts.iter().map(|text| PortionPlain { media_type: "text/plain", text }).collect();
    let mut content = Vec::new();
    let mut put = |chunk: &[u8]| {
        content.extend_from_slice(chunk);
        Ok::<(), SealError>(())
    };
    let (draft, keys) = EnvelopeDraft::seal_apart(&portions, &ids(), e, &mut put).unwrap();
    assert_eq!(content.len(), EnvelopeDraft::sealed_bytes(&portions).unwrap());
    let proof = sign_batch(&SigningKey::from_seed(&[5; 32]).unwrap(), &[draft.hash()]).remove(0);
    (draft.attach(proof), keys, content)
}

fn opened(envelope: &Envelope, portion: usize, key: &DataKey, content: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut at: usize = envelope.header().ciphertext_sizes().take(portion).sum();
    let mut next = |bytes: usize| {
        at += bytes;
        Ok(content[at - bytes..at].to_vec())
    };
    open_portion_from(envelope, portion, key, &mut next).map(|text| text.to_vec())
}

#[test]
fn what_is_sealed_apart_is_the_same_envelope() {
    let texts: [&[u8]; 3] = [b"meta", b"", &[7; 300_000]];
    let (whole, keys, public) = sealed(&texts, &ids(), &mut Counter::new());
    let (head, _, content) = apart(&texts, &mut Counter::new());
    // The same randomness, so the same header; only the batch is another one.
    assert_eq!((head.hash(), head.commitment()), (whole.hash(), whole.commitment()));
    assert_eq!(content, whole.ciphertexts.concat());
    assert!(head.is_apart() && !whole.is_apart());
    assert_eq!((head.ciphertext_bytes(), whole.ciphertext_bytes()), (content.len(), content.len()));
    let read = Envelope::from_bytes(&head.to_bytes()).unwrap();
    assert_eq!(read, head);
    read.verify(&public).unwrap();
    for (i, text) in texts.iter().enumerate() {
        assert_eq!(opened(&read, i, &keys[i], &content).unwrap(), *text);
        assert_eq!(
            opened(&read, i, &keys[(i + 1) % 3], &content).unwrap_err(),
            SealError::Commitment { what: "data key" }
        );
        assert!(matches!(open_portion(&read, i, &keys[i]), Err(SealError::Missing { .. })), "it is not in it");
    }
    let mut changed = content.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert!(opened(&read, 2, &keys[2], &changed).is_err(), "the last byte of the last chunk");
    // The beginning needs no more than the chunks in which it is.
    for (most, chunks) in [(0, 1), (10, 1), (CHUNK_BYTES, 2), (200_000, 4), (300_000, 5), (usize::MAX, 5)] {
        let (mut at, mut asked): (usize, usize) = (content.len() - sealed_len(303_104), 0);
        let mut next = |bytes: usize| {
            (at, asked) = (at + bytes, asked + 1);
            Ok::<_, SealError>(changed[at - bytes..at].to_vec())
        };
        let first = open_beginning_from(&read, 2, &keys[2], most, &mut next);
        // With the last chunk its changed byte is read.
        assert_eq!(first.map(|text| text.to_vec()).ok(), (chunks < 5).then(|| vec![7; most.min(300_000)]), "{most}");
        assert_eq!(asked, chunks, "{most}");
    }
    assert_eq!(head.with_ciphertexts(whole.ciphertexts.clone()).unwrap().ciphertexts, whole.ciphertexts);
    let mut other = whole.ciphertexts.clone();
    other[2][9] ^= 1;
    assert!(head.with_ciphertexts(other).is_err() && head.with_ciphertexts(Vec::new()).is_err());
}

/// Version 2 is version 1 without its ciphertexts. Stored bytes never change.
#[test]
fn the_bytes_of_a_head_are_those_of_the_envelope_without_content() {
    let (whole, ..) = sealed(&[b"text"], &ids(), &mut Counter::new());
    let mut head = whole.clone();
    head.ciphertexts.clear();
    let (whole, head) = (whole.to_bytes(), head.to_bytes());
    let version = 4 + NAME.len();
    assert_eq!((&whole[version..version + 2], &head[version..version + 2]), (&[0, 1][..], &[0, 2][..]));
    assert_eq!(whole[..version], head[..version]);
    assert_eq!(whole[version + 2..head.len()], head[version + 2..]);
    assert_eq!(whole.len(), head.len() + 4 + 4 + sealed_len(256), "a count, a length, and the ciphertext");
    assert!(Envelope::from_bytes(&[head.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn content_in_pieces_is_held_against_the_header() {
    let (head, _, content) = apart(&[b"meta", &[7; 70_000]], &mut Counter::new());
    let check = |bytes: &[u8], piece: usize| {
        let mut check = ContentCheck::new(head.header()).unwrap();
        bytes.chunks(piece).try_for_each(|p| check.update(p)).map(|()| check.is_whole())
    };
    for piece in [1, 250, 272, 65_552, content.len()] {
        assert_eq!(check(&content, piece), Ok(true), "{piece}");
        assert_eq!(check(&content[..content.len() - 1], piece), Ok(false), "cut");
        assert!(check(&[content.as_slice(), &[0]].concat(), piece).is_err(), "more than it describes");
    }
    let mut changed = content.clone();
    changed[0] ^= 1;
    // Found with the last byte of its portion.
    let mut first = ContentCheck::new(head.header()).unwrap();
    assert!(first.update(&changed[..271]).is_ok() && first.update(&changed[271..272]).is_err());
    assert!(first.update(&content[272..]).is_ok() && !first.is_whole(), "it is never whole any more");
}

#[test]
fn sixteen_mebibytes_of_text_are_the_most_that_lie_apart() {
    let bytes = |n: usize| EnvelopeDraft::sealed_bytes(&[PortionPlain { media_type: "text/plain", text: &vec![0; n] }]);
    assert!(bytes(16 << 20).unwrap() < CONTENT_BYTES);
    assert!(bytes(24 << 20).is_err(), "no bucket holds it");
    let text = vec![0u8; 16 << 20];
    let portions =
        [b"x".as_slice(), text.as_slice(), text.as_slice()].map(|text| PortionPlain { media_type: "text/plain", text });
    let sealed = EnvelopeDraft::seal_apart(&portions, &ids(), &mut Counter::new(), &mut |_| Ok::<(), SealError>(()));
    assert_eq!(sealed.err(), Some(over_limit()), "before anything is sealed");
}

#[test]
fn a_text_in_pieces_is_the_text() {
    // The last chunk of the longest is padding alone.
    for n in [0, 1, CHUNK_BYTES - 4, CHUNK_BYTES - 3, 100_000, 130_000, 4 << 20] {
        let text: Vec<u8> = (0..n).map(|i| (i % 251) as u8 + 1).collect();
        let (head, keys, content) = apart(&[b"meta", &text], &mut Counter::new());
        let pieces = |content: &[u8]| {
            let (mut at, mut all) = (272, Vec::new());
            let mut opener = open_portion_pieces(&head, 1, &keys[1]).unwrap();
            while let Some(bytes) = opener.wants() {
                all.push(opener.open(content[at..at + bytes].to_vec())?.to_vec());
                at += bytes;
            }
            Ok::<_, SealError>(all)
        };
        let all = pieces(&content).unwrap();
        assert!(all.iter().all(|piece| piece.len() <= CHUNK_BYTES) && all.concat() == text, "{n}");
        let mut changed = content.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(pieces(&changed).is_err(), "{n}");
        assert!(open_portion_pieces(&head, 1, &keys[0]).is_err() && open_portion_pieces(&head, 2, &keys[1]).is_err());
    }
}

/// Texts in coarse classes, as all were before, open whole and in pieces; of the longest the last two chunks are padding alone.
#[test]
fn what_was_padded_before_opens() {
    let texts: [&[u8]; 4] = [b"meta", b"", &[7; 1_350], &[7; 600_000]];
    let portions = texts.map(|text| PortionPlain { media_type: "text/plain", text });
    let (draft, keys) = EnvelopeDraft::seal_padded(&portions, &ids(), pad_coarsely, &mut Counter::new()).unwrap();
    let proof = sign_batch(&SigningKey::from_seed(&[5; 32]).unwrap(), &[draft.hash()]).remove(0);
    let whole = Envelope::from_bytes(&draft.attach(proof).to_bytes()).unwrap();
    let sizes: Vec<_> = whole.header().portions.iter().map(|p| p.padded_size).collect();
    assert_eq!(sizes, [512, 512, 1_536, 786_432]);
    let content = whole.ciphertexts.concat();
    let head = Envelope::from_bytes(&Envelope { ciphertexts: Vec::new(), ..whole.clone() }.to_bytes()).unwrap();
    for (i, (text, key)) in texts.iter().zip(&keys).enumerate() {
        assert_eq!(open_portion(&whole, i, key).unwrap().as_slice(), *text);
        assert_eq!(opened(&head, i, key, &content).unwrap(), *text);
        let mut at: usize = head.header().ciphertext_sizes().take(i).sum();
        let (mut opener, mut all) = (open_portion_pieces(&head, i, key).unwrap(), Vec::<u8>::new());
        while let Some(bytes) = opener.wants() {
            all.extend_from_slice(&opener.open(content[at..at + bytes].to_vec()).unwrap());
            at += bytes;
        }
        assert_eq!(all, *text);
    }
}
