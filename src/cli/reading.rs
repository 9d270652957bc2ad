//! A record that comes in pieces, put together. Nothing is shown of one that does not come whole.

use super::client::fault;
use crate::domain::fault::Fault;
use crate::seal::CONTENT_BYTES;
use crate::wire::pb::v1;
use tonic::Streaming;

/// Reads an open to its end.
pub(super) async fn whole(mut pieces: Streaming<v1::OpenPiece>) -> Result<v1::OpenReply, Fault> {
    let (mut first, mut portions, mut from) = (None, Vec::<v1::Portion>::new(), 0usize);
    while let Some(piece) = pieces.message().await.map_err(fault)? {
        let v1::OpenPiece { head, portion, data } = piece;
        if let Some(mut head) = head {
            from = portions.len();
            portions.append(&mut head.portions);
            first = first.or(Some(head));
        }
        let at = usize::try_from(portion).map_or(usize::MAX, |n| from.saturating_add(n));
        match portions.get_mut(at) {
            Some(portion) => portion.text.extend_from_slice(&data),
            None if data.is_empty() => {}
            None => return Err(Fault::integrity("MALFORMED", "a piece belongs to no text")),
        }
    }
    let reply: v1::OpenReply = first.ok_or_else(|| Fault::unavailable("NODE_UNREACHABLE", "the answer is empty"))?;
    Ok(v1::OpenReply { portions, ..reply })
}

/// Reads a sealed copy to its end: what stands before its ciphertexts, and these, if they are not in its envelope.
pub(super) async fn copy(mut pieces: Streaming<v1::ExportPiece>) -> Result<(v1::ExportReply, Vec<u8>), Fault> {
    let (mut first, mut content) = (None, Vec::new());
    while let Some(piece) = pieces.message().await.map_err(fault)? {
        let v1::ExportPiece { head, data } = piece;
        first = first.or(head);
        if content.len().saturating_add(data.len()) > CONTENT_BYTES {
            return Err(Fault::integrity("MALFORMED", "the copy is larger than any envelope"));
        }
        content.extend_from_slice(&data);
    }
    let head = first.ok_or_else(|| Fault::unavailable("NODE_UNREACHABLE", "the answer is empty"))?;
    Ok((head, content))
}
