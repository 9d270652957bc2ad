//! What is too large for one message: texts that people send in pieces, and texts and copies that they are given so.

use super::refuse;
use crate::domain::fault::Fault;
use crate::domain::ids::RecordId;
use crate::domain::limits;
use crate::service::{Caller, Core, Reading};
use crate::vault::{Content, Pieces};
use crate::wire::pb::v1;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// A reader that takes nothing for this long is not there, and neither is a writer that sends nothing.
const SLOW: Duration = Duration::from_secs(30);

/// The pieces of an answer.
pub(super) type Given<P> = ReceiverStream<Result<P, Status>>;
/// Where they go.
type To<P> = mpsc::Sender<Result<P, Status>>;

/// What is asked, and bytes of the text, in the first piece; the text in those behind it.
type Parts<A> = (Option<A>, u32, Vec<u8>);

/// A piece of what somebody asks with a text behind it.
pub(super) trait Piece {
    /// What is asked.
    type Ask;
    /// What it says.
    fn parts(self) -> Parts<Self::Ask>;
}

impl Piece for v1::PublishPiece {
    type Ask = v1::PublishRequest;
    fn parts(self) -> Parts<Self::Ask> {
        let v1::PublishPiece { ask, body_bytes, data } = self;
        (ask, body_bytes, data)
    }
}

impl Piece for v1::AmendPiece {
    type Ask = v1::AmendRequest;
    fn parts(self) -> Parts<Self::Ask> {
        let v1::AmendPiece { ask, body_bytes, data } = self;
        (ask, body_bytes, data)
    }
}

/// A text that comes in pieces.
pub(super) struct Body<P>(pub(super) Streaming<P>);

impl<P: Piece> Body<P> {
    async fn piece(&mut self) -> Result<Option<Parts<P::Ask>>, String> {
        let piece = match tokio::time::timeout(SLOW, self.0.message()).await {
            Err(_) => return Err("no piece in time".to_owned()),
            Ok(piece) => piece.map_err(|status| status.message().to_owned())?.map(Piece::parts),
        };
        match piece {
            Some((_, _, data)) if data.len() > limits::PIECE_BYTES => Err("a piece is too large".to_owned()),
            piece => Ok(piece),
        }
    }

    /// What is asked, and the bytes of the text.
    pub(super) async fn first(&mut self) -> Result<(P::Ask, usize), Fault> {
        let cut = |why: String| Fault::unavailable("NOT_FRESH", why);
        let bad = || Fault::usage("INVALID", "the first piece says what is asked, and how long its body is");
        let (ask, bytes, data) = self.piece().await.map_err(cut)?.ok_or_else(bad)?;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if bytes > limits::TEXT_BYTES {
            return Err(Fault::usage("BODY_TOO_LARGE", "a body has at most 16 MiB"));
        }
        match ask {
            Some(ask) if data.is_empty() && bytes > 0 => Ok((ask, bytes)),
            _ => Err(bad()),
        }
    }
}

impl<P: Piece + Send + 'static> Pieces for Body<P>
where
    P::Ask: Send,
{
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Vec<u8>>, String>> + Send + '_>> {
        Box::pin(async move {
            match self.piece().await? {
                Some((Some(_), ..)) => Err("only the first piece says what is asked".to_owned()),
                piece => Ok(piece.map(|(_, _, data)| data)),
            }
        })
    }
}

/// Gives texts out as fast as they are taken. Whoever takes nothing for a while, or goes away, gets no more. How far it went is
/// logged before the stream ends, of each envelope.
pub(super) fn texts(core: &Arc<Core>, caller: Caller, purpose: String, parts: Vec<Reading>) -> Given<v1::OpenPiece> {
    let (to, pieces) = mpsc::channel(1);
    let core = Arc::clone(core);
    tokio::spawn(async move {
        let mut parts = parts.into_iter();
        while let Some(mut part) = parts.next() {
            let may = |part: &Reading| core.may_read_on(&caller, part, &purpose);
            let (whole, broken) = match core.begin_giving(&caller, &part, &purpose).await {
                Ok(()) => give_part(&core, &mut part, (&to, may)).await,
                Err(fault) => (false, Some(fault)),
            };
            let told = core.end_giving(&caller, &part, &purpose, whole).await;
            let mut broken = broken.or(told.err());
            if whole && broken.is_none() {
                continue;
            }
            // Those that nobody came to have an intent as well.
            for rest in parts.by_ref() {
                let told = core.end_giving(&caller, &rest, &purpose, false).await;
                broken = broken.or(told.err());
            }
            if let Some(fault) = broken {
                let _told = taken(&to, Err(refuse(fault))).await;
            }
        }
    });
    ReceiverStream::new(pieces)
}

/// Whether all of an envelope's texts were taken, and what broke.
async fn give_part(
    core: &Core,
    part: &mut Reading,
    (to, may): (&To<v1::OpenPiece>, impl Fn(&Reading) -> bool),
) -> (bool, Option<Fault>) {
    let head = v1::OpenPiece { head: Some(head(part)), portion: 0, data: Vec::new() };
    if !taken(to, Ok(head)).await {
        return (false, None);
    }
    loop {
        if !may(part) {
            return (false, Some(Fault::not_found()));
        }
        let (text, data) = match core.read_on(part) {
            Ok(Some(piece)) => piece,
            Ok(None) => return (true, None),
            Err(fault) => {
                let given = part.given();
                let hint = format!(
                    "{given} bytes of its texts were given out before, as they were sealed; the rest is missing"
                );
                return (false, Some(fault.hint(hint)));
            }
        };
        let portion = u32::try_from(text).unwrap_or(u32::MAX);
        if !taken(to, Ok(v1::OpenPiece { head: None, portion, data: data.to_vec() })).await {
            return (false, None);
        }
        part.gave(data.len());
    }
}

fn head(of: &Reading) -> v1::OpenReply {
    let label = of.disclosing.label().marking();
    let portion = || v1::Portion { label: label.clone(), text: Vec::new() };
    v1::OpenReply {
        record: of.record.to_string(),
        version: of.version,
        title: of.disclosing.meta.title.clone(),
        origin: of.origin.to_string(),
        portions: std::iter::repeat_with(portion).take(of.disclosing.texts()).collect(),
        label: label.clone(),
        audit_seq: of.audit_seq,
        ledger_index: of.ledger_index,
    }
}

/// Gives a sealed copy out: what stands before its ciphertexts, and the ciphertexts, if they lie apart.
pub(super) fn copy(
    core: &Arc<Core>,
    key: (RecordId, u32),
    head: v1::ExportReply,
    content: Option<Content>,
) -> Given<v1::ExportPiece> {
    let (to, pieces) = mpsc::channel(1);
    let core = Arc::clone(core);
    tokio::spawn(async move {
        if !taken(&to, Ok(v1::ExportPiece { head: Some(head), data: Vec::new() })).await {
            return;
        }
        let Some(content) = content else { return };
        let mut reader = content.reader();
        loop {
            let piece = match &mut reader {
                Ok(reader) => reader.read(limits::PIECE_BYTES),
                Err(error) => Err(error.clone()),
            };
            let piece = match piece {
                Ok(data) if data.is_empty() => return,
                Ok(data) => Ok(v1::ExportPiece { head: None, data }),
                Err(error) => {
                    core.vault.spoilt(key, &content, &error);
                    Err(refuse(error.into()))
                }
            };
            let ends = piece.is_err();
            if !taken(&to, piece).await || ends {
                return;
            }
        }
    });
    ReceiverStream::new(pieces)
}

async fn taken<P>(to: &To<P>, piece: Result<P, Status>) -> bool {
    matches!(tokio::time::timeout(SLOW, to.send(piece)).await, Ok(Ok(())))
}
