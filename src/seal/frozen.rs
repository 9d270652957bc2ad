//! The formats, held fixed: with a counting source of randomness every object has the same bytes for ever.
//!
//! A constant here changes only together with the version of its format. The first group was computed by an
//! independent implementation in another language; the second pins what this one wrote first. What is called `BEFORE` is padded
//! as texts were before decision 0027: nobody writes it any more, and it opens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::aead::{key_commitment, seal_chunks};
use super::audience::{AudienceKey, AudienceObject, AudienceScope};
use super::batch::{BatchSigned, sign_batch};
use super::digest::digest;
use super::envelope::{DataKey, Envelope, EnvelopeDraft, EnvelopeIds, PortionPlain, open_portion};
use super::grant::{GrantBody, GrantDraft, SealedGrant};
use super::kem::{GradeSecret, open_with, seal_to};
use super::keyring::KeyRing;
use super::pad::{Padding, pad, pad_coarsely};
use super::sign::SigningKey;
use super::tags::{PairKey, PairNames, TaggedVersion, padded_tags, pull_check};
use super::together::{read_together, write_together};
use crate::domain::canon::Canon;
use crate::domain::ids::{AgencyId, NodeId, RecordId};
use crate::domain::label::{Caveat, Grade, Label, Period};
use crate::domain::time::{Entropy, Millis};
use data_encoding::HEXLOWER;
use std::collections::BTreeSet;

const CHUNKS: &str = "123e17e72419ede689a9de77b22012980c2113595f9f5b2ca9b9e4bd55d05027";
const KEY_COMMITMENT: &str = "e5251e8b1e6cb35b45d32cb0cb9ca6625084b406be2f309082864e05fa266d81";
const TAG: &str = "6215ceca8286941a983ac7cd7f217743";
const PULL_CHECK: &str = "35df09dabc55703cf303c90c169aceaa332fa04721647273ef4e7642ddbc09c2";
const RATCHET: &str = "5b4156522c1a6b1dabd0206da8ab678c6032883435e5cd8e1115ded2f1a08f3b";
const BATCH: &str = "1dc57322489e3fa65fca2eee2c9ad123fe3a6c8301c25237f86094743a2400ba";
const ENVELOPE_BEFORE: &str = "18e281ae57bc69dd3fc6592614b4209c487bba0b344a630acf536792cf4af00c";
const COMMITMENT_BEFORE: &str = "38956919b717c9a3026cea8bd722c0eceebadc4c4635cdf07114901dcd9b2496";
const ENVELOPE: &str = "eeba1283dee6f2b56797646f8cc443be12b5b93164d8247fee5c1c747fa269c6";
const COMMITMENT: &str = "257e1b21d9073902a84eae4e0edc70d51cc5cb6530ec8e2ea634383608fad85d";
const GRANT: &str = "bfecb4cb626e1df9d2e41f413812340d5405933ff48015192797fc75b0ccfa9f";
const TOGETHER: &str = "00a8f73258df4ae22cda93abf7add5766a81b80718277371c81459793c547e28";

const GRADE_PUBLIC: &str = "4d4ae0a1e8038e71cb9c98da278ed8db9ba651f093286c3e7e404b132fa50476";
const SEALED_TO: &str = "b331d18b6559d3c097814f2ee1d2e99e847900c0f9d79960825c8cd2b23e555b";
const AUDIENCE: &str = "bf17c72105218a1be10d3681b6c13b3fc63e1e603186b84fbe954b2e88c118f6";
const GRANT_BODY: &str = "8fb75e053086b27231115f9fb0e5f111ac1ca08404ccebf2f7758afd26fe83af";
const GRANT_BEFORE: &str = "48a7b06019ddeab05874693ba765272a3c1366dcf4c89f78a76993ca8086a405";
const INTRODUCED: &str = "08a042c22e18b65c37dc72c90ab67cd3a41a5e37537f2ee12bc2136051b72f0e";
const PADDED_TAGS: &str = "042e6bed972a815d8bfcfbe01c19699587f1c138b055fb101c97e91e91dc93d3";
const KEY_RING: &str = "ba68ce27ef323c430e4cd169e0f0f55e3a6b3171a91328be78a643f9feaaf08c";

/// Randomness for tests: block n is a digest of n. Two sources give the same bytes.
pub(crate) struct Counter(u64);

impl Counter {
    pub(super) fn new() -> Counter {
        Counter(0)
    }

    pub(crate) fn at(start: u64) -> Counter {
        Counter(start)
    }
}

impl Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        for block in out.chunks_mut(32) {
            let random = digest("test.entropy", &[&self.0.to_be_bytes()]);
            block.copy_from_slice(&random[..block.len()]);
            self.0 += 1;
        }
    }
}

/// A label with something in every field.
pub(super) fn label() -> Label {
    Label {
        originator: agency("customs"),
        grade: Grade::Secret,
        compartments: BTreeSet::from(["harbour".parse().unwrap()]),
        release: BTreeSet::from([agency("police")]),
        caveats: BTreeSet::from([Caveat::Orcon]),
        period: Some(Period::Years(10)),
    }
}

fn agency(name: &str) -> AgencyId {
    name.parse().unwrap()
}

fn signer() -> SigningKey {
    SigningKey::from_seed(&[5; 32]).unwrap()
}

/// Long values stand here as their digest, short ones as they are.
fn shown(bytes: &[u8]) -> String {
    if bytes.len() <= 32 { HEXLOWER.encode(bytes) } else { HEXLOWER.encode(&digest("test.frozen", &[bytes])) }
}

fn compare(cases: &[(&str, &str, &[u8])]) {
    let changed: Vec<String> = cases
        .iter()
        .filter(|(_, frozen, bytes)| *frozen != shown(bytes))
        .map(|(name, _, bytes)| format!("const {name}: &str = \"{}\";", shown(bytes)))
        .collect();
    assert!(changed.is_empty(), "formats changed; actual values:\n{}", changed.join("\n"));
}

fn draft(padding: Padding, e: &mut Counter) -> (EnvelopeDraft, Vec<DataKey>) {
    let ids = EnvelopeIds {
        id: RecordId::from_bytes([3; 16]),
        version: 1,
        originator: agency("customs"),
        node: NodeId(7),
        created: Millis(1_700_000_000_000),
    };
    let portions = [
        PortionPlain { media_type: "application/vnd.hufu.meta", text: b"meta" },
        PortionPlain { media_type: "text/plain", text: "正文".as_bytes() },
    ];
    EnvelopeDraft::seal_padded(&portions, &ids, padding, e).unwrap()
}

fn envelope(padding: Padding, e: &mut Counter) -> (Envelope, Vec<DataKey>, BatchSigned) {
    let (draft, keys) = draft(padding, e);
    let proof = sign_batch(&signer(), &[[1; 32], draft.hash(), [2; 32]]).remove(1);
    (draft.attach(proof.clone()), keys, proof)
}

#[test]
fn the_bytes_are_those_of_the_independent_implementation() {
    let tagged = TaggedVersion { record: RecordId::from_bytes([3; 16]), version: 1, commitment: [4; 32] };
    let federation = "hufu".parse().unwrap();
    let pair = PairKey::generate(675, &mut Counter::new());
    let text: Vec<u8> = (0..150_000u32).map(|i| (i % 251) as u8).collect();
    let both: [Padding; 2] = [pad_coarsely, pad];
    let [before, now] = both.map(|padding| {
        let (envelope, keys, _) = envelope(padding, &mut Counter::new());
        let read = Envelope::from_bytes(&envelope.to_bytes()).unwrap();
        assert_eq!(open_portion(&read, 1, &keys[1]).unwrap().as_slice(), "正文".as_bytes());
        read
    });
    let batch = sign_batch(&signer(), &[[1; 32], [2; 32], [3; 32]]).remove(2);
    compare(&[
        ("CHUNKS", CHUNKS, &seal_chunks(&[1; 32], &[2; 32], 3, &text).unwrap()),
        ("KEY_COMMITMENT", KEY_COMMITMENT, &key_commitment(&[1; 32], &[2; 32])),
        ("TAG", TAG, &pair.tag(&federation, &tagged)),
        ("PULL_CHECK", PULL_CHECK, &pull_check(&pair.pull_token(&federation, &tagged))),
        ("RATCHET", RATCHET, pair.ratchet().expose()),
        ("BATCH", BATCH, &batch.to_canon()),
        ("ENVELOPE_BEFORE", ENVELOPE_BEFORE, &before.to_bytes()),
        ("COMMITMENT_BEFORE", COMMITMENT_BEFORE, &before.commitment()),
        ("ENVELOPE", ENVELOPE, &now.to_bytes()),
        ("COMMITMENT", COMMITMENT, &now.commitment()),
    ]);
}

#[test]
fn the_bytes_are_those_that_were_written_first() {
    let mut e = Counter::new();
    let police = GradeSecret::from_seed(&[2; 32]);
    let sealed = seal_to(&police.public(), b"info", b"aad", b"text", &mut e).unwrap();
    assert_eq!(open_with(&police, b"info", b"aad", &sealed).unwrap().as_slice(), b"text");

    let scope = AudienceScope {
        origin: agency("customs"),
        node: NodeId(7),
        grade: Grade::Secret,
        compartments: BTreeSet::from(["harbour".parse().unwrap()]),
        epoch: 4,
    };
    let members = [(agency("police"), police.public())];
    let (audience, key): (AudienceObject, AudienceKey) =
        AudienceObject::create(scope, &members, &signer(), &mut e).unwrap();
    assert_eq!(audience.open_copy(&agency("police"), &police).unwrap().id(), key.id());

    let (envelope, keys, proof) = envelope(pad_coarsely, &mut e);
    let hash = envelope.hash();
    let tagged = TaggedVersion { record: envelope.header().id, version: 1, commitment: envelope.commitment() };
    let pair = PairKey::generate(675, &mut e);
    let federation = "hufu".parse().unwrap();
    let body = GrantBody {
        envelope: envelope.header().id,
        version: 1,
        header_hash: hash,
        label: label(),
        agencies: BTreeSet::from([agency("police")]),
        agreement: Some(("border-2026".parse().unwrap(), 2)),
        keys: vec![
            key.wrap_key(&hash, 0, &keys[0], &mut e).unwrap(),
            key.wrap_key(&hash, 1, &keys[1], &mut e).unwrap(),
        ],
        pull_checks: vec![pull_check(&pair.pull_token(&federation, &tagged))],
        no_notification: false,
        posts: vec![[7; 16]],
        lower: Vec::new(),
    };
    let origin = || (agency("customs"), NodeId(7));
    let before = GrantDraft::create_padded(&body, &key, origin(), pad_coarsely, &mut e).unwrap();
    let now = || GrantDraft::create_padded(&body, &key, origin(), pad, &mut Counter::at(1_000)).unwrap();
    let together = {
        let ((envelope, _), grant) = (draft(pad, &mut Counter::new()), now());
        let mut proofs = sign_batch(&signer(), &[envelope.hash(), grant.hash()]).into_iter();
        let pair = (envelope.attach(proofs.next().unwrap()), grant.attach(proofs.next().unwrap()));
        let bytes = write_together(&pair.0, &pair.1, &audience).unwrap();
        assert_eq!(read_together(&bytes, &audience), Ok(pair));
        bytes
    };
    // The proof is of another leaf; only its bytes matter here.
    let [before, now] = [before, now()].map(|draft| {
        let grant = SealedGrant::from_bytes(&draft.attach(proof.clone()).to_bytes()).unwrap();
        assert_eq!(grant.open(&key).unwrap(), body);
        grant
    });
    let data = key.unwrap_key(&hash, 1, &before.open(&key).unwrap().keys[1]).unwrap();
    assert_eq!(open_portion(&envelope, 1, &data).unwrap().as_slice(), "正文".as_bytes());

    let names = PairNames { federation, origin: agency("customs"), recipient: agency("police") };
    let introduced = pair.introduce(&names, &police.public(), &mut e).unwrap();
    let tags = padded_tags(&[pair.tag(&names.federation, &tagged)], &mut e);
    let ring = KeyRing::create(Grade::Secret, &mut e).unwrap();
    let file = ring.seal_file(b"open sesame", &mut e).unwrap();
    compare(&[
        ("GRADE_PUBLIC", GRADE_PUBLIC, &police.public().to_canon()),
        ("SEALED_TO", SEALED_TO, &sealed),
        ("AUDIENCE", AUDIENCE, &audience.to_bytes()),
        ("GRANT_BODY", GRANT_BODY, &body.to_canon()),
        ("GRANT_BEFORE", GRANT_BEFORE, &before.to_bytes()),
        ("GRANT", GRANT, &now.to_bytes()),
        ("TOGETHER", TOGETHER, &together),
        ("INTRODUCED", INTRODUCED, &introduced),
        ("PADDED_TAGS", PADDED_TAGS, &tags.concat()),
        ("KEY_RING", KEY_RING, &file),
    ]);
}
