//! A record that comes in pieces, put together. Nothing is shown of one that does not come whole.

use super::client::fault;
use crate::domain::fault::Fault;
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
