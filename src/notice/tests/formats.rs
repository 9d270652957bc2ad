//! The durable formats of notices, held fixed: what was stored once opens for ever.

use super::*;
use data_encoding::HEXLOWER;

/// Each kind of frame that holds no letter, as its first version wrote it.
#[test]
fn frames_keep_their_bytes() {
    let (letter, at) = ([7; 32], Millis(1_800_000_000_000));
    let notice = NoticeId::from_bytes([9; 16]);
    let frames = [
        Frame::Ended { letter, at },
        Frame::Stepped { letter, step: Step::Chain, at },
        Frame::Shown { letter, person: "duty".into(), at },
        Frame::Opened { letter, at },
        Frame::Withheld { notice, from: "police".parse().unwrap(), at },
        Frame::Called { letter, step: None, at },
        Frame::Called { letter, step: Some(Step::Reminder), at },
        Frame::Provisional { notice, at },
        Frame::Confirmed { notice, by: "chief".into(), at },
        Frame::RecallShown { letter, person: "duty".into(), at },
        Frame::OpenedFor { letter, person: "duty".into(), at },
    ];
    for (frame, frozen) in frames.iter().zip(FROZEN) {
        let bytes = frame.to_bytes();
        assert_eq!(HEXLOWER.encode(&bytes), *frozen, "{frame:?}");
        assert_eq!(Frame::from_bytes(&bytes).unwrap(), *frame);
    }
    assert_eq!(frames.len(), FROZEN.len());
}

/// Codes stand for the words in letters and receipts; a new one comes last.
#[test]
fn kinds_and_states_keep_their_codes() {
    let kinds = [LetterKind::Notice, LetterKind::Receipt, LetterKind::Cancel, LetterKind::Recall, LetterKind::Confirm];
    let codes = |all: Vec<Vec<u8>>| all.concat();
    assert_eq!(codes(kinds.iter().map(Canon::to_canon).collect()), [0, 1, 2, 3, 4]);
    let words = ["delivered", "withdrawn", "presented", "acknowledged", "answered", "recalled"];
    assert_eq!(ReceiptState::ALL.iter().map(|s| s.as_str()).collect::<Vec<_>>(), words);
    assert_eq!(codes(ReceiptState::ALL.iter().map(Canon::to_canon).collect()), [0, 1, 2, 3, 4, 5]);
}

/// What is sealed: without a provisional marking it is version 1, as it was before there was one.
#[test]
fn contents_keep_their_bytes() {
    let content = draft(NoticeId::from_bytes([9; 16]), &"customs".parse().unwrap(), Precedence::Flash).content;
    let provisional = Content { provisional: true, ..content.clone() };
    for (content, frozen) in [(&content, CONTENT), (&provisional, PROVISIONAL)] {
        let bytes = content.to_bytes();
        assert_eq!(HEXLOWER.encode(&digest("test.frozen", &[&bytes])), frozen);
        assert_eq!(Content::from_bytes(&bytes).unwrap(), *content);
    }
}

const FROZEN: &[&str] = &[
    "00000011687566752e6e6f746963652d6672616d650001040707070707070707070707070707070707070707070707070707070707070707000001a3185c5000",
    "00000011687566752e6e6f746963652d6672616d65000105070707070707070707070707070707070707070707070707070707070707070703000001a3185c5000",
    "00000011687566752e6e6f746963652d6672616d6500010607070707070707070707070707070707070707070707070707070707070707070000000464757479000001a3185c5000",
    "00000011687566752e6e6f746963652d6672616d650001070707070707070707070707070707070707070707070707070707070707070707000001a3185c5000",
    "00000011687566752e6e6f746963652d6672616d650001080909090909090909090909090909090900000006706f6c696365000001a3185c5000",
    "00000011687566752e6e6f746963652d6672616d65000109070707070707070707070707070707070707070707070707070707070707070700000001a3185c5000",
    "00000011687566752e6e6f746963652d6672616d6500010907070707070707070707070707070707070707070707070707070707070707070105000001a3185c5000",
    "00000011687566752e6e6f746963652d6672616d6500010a09090909090909090909090909090909000001a3185c5000",
    "00000011687566752e6e6f746963652d6672616d6500010b09090909090909090909090909090909000000056368696566000001a3185c5000",
    "00000011687566752e6e6f746963652d6672616d6500010d07070707070707070707070707070707070707070707070707070707070707070000000464757479000001a3185c5000",
    "00000011687566752e6e6f746963652d6672616d6500010e07070707070707070707070707070707070707070707070707070707070707070000000464757479000001a3185c5000",
];
const CONTENT: &str = "8f24ddc8f5cad52ca43ff4e483ef932c5ab71e1fad169fc35c13e7e68c053da0";
const PROVISIONAL: &str = "85ddebbf9e94cd6bf2646ec03a6318aab15dee70281c305c484834138e921ce6";
