//! Bodies that are too large for one message: sent in pieces, as they are read.

use super::client::{Client, fault};
use super::record::{CHECK_PATH, SPLIT};
use crate::domain::fault::Fault;
use crate::domain::limits;
use crate::seal::digest;
use crate::wire::pb::v1;
use futures_util::{Stream, StreamExt, stream};
use std::io::Read;
use std::path::Path;

/// Bytes of a file that does not go in one message; none of one that does.
pub(super) fn size(file: &Path) -> Result<Option<u32>, Fault> {
    let bytes = std::fs::metadata(file).map_err(unreadable(file))?.len();
    if bytes <= limits::BODY_BYTES as u64 {
        return Ok(None);
    }
    match u32::try_from(bytes).ok().filter(|_| bytes <= limits::TEXT_BYTES as u64) {
        Some(bytes) => Ok(Some(bytes)),
        None => {
            let why = format!("the body has {bytes} bytes; the limit is {} (16 MiB)", limits::TEXT_BYTES);
            Err(Fault::usage("BODY_TOO_LARGE", why).hint(SPLIT))
        }
    }
}

/// Publishes with a file's text as the body. A file that changes meanwhile is not what was announced, and is refused.
pub(super) async fn publish(
    client: &Client,
    ask: v1::PublishRequest,
    (file, bytes): (&Path, u32),
) -> Result<v1::PublishReply, Fault> {
    let first = v1::PublishPiece { ask: Some(ask), body_bytes: bytes, data: Vec::new() };
    let text = pieces(file)?.map(|data| v1::PublishPiece { ask: None, body_bytes: 0, data });
    Ok(client.records().publish_large(stream::iter([first]).chain(text)).await.map_err(fault)?.into_inner())
}

/// The same for an amendment.
pub(super) async fn amend(
    client: &Client,
    ask: v1::AmendRequest,
    (file, bytes): (&Path, u32),
) -> Result<v1::PublishReply, Fault> {
    let first = v1::AmendPiece { ask: Some(ask), body_bytes: bytes, data: Vec::new() };
    let text = pieces(file)?.map(|data| v1::AmendPiece { ask: None, body_bytes: 0, data });
    Ok(client.records().amend_large(stream::iter([first]).chain(text)).await.map_err(fault)?.into_inner())
}

/// Imports a request's text.
pub(super) async fn import(client: &Client, mut ask: v1::PublishRequest) -> Result<v1::PublishReply, Fault> {
    let body = std::mem::take(&mut ask.body);
    if ask.content.is_empty() {
        ask.content = digest("hufu.import-text", &[ask.title.as_bytes(), &body]).to_vec();
    }
    let body_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let first = v1::PublishPiece { ask: Some(ask), body_bytes, data: Vec::new() };
    let text = stream::unfold((body, 0usize), |(body, at)| async move {
        let data = body.get(at..)?.chunks(limits::PIECE_BYTES).next()?.to_vec();
        let next = at.saturating_add(data.len());
        Some((v1::PublishPiece { ask: None, body_bytes: 0, data }, (body, next)))
    });
    Ok(client.records().publish_large(stream::iter([first]).chain(text)).await.map_err(fault)?.into_inner())
}

/// A file's text as it is read. When that fails it ends early, which the node tells.
fn pieces(file: &Path) -> Result<impl Stream<Item = Vec<u8>> + Send + use<>, Fault> {
    let source = std::fs::File::open(file).map_err(unreadable(file))?;
    Ok(stream::unfold(source, |mut source| async move {
        let mut data = vec![0; limits::PIECE_BYTES];
        let read = source.read(&mut data).ok().filter(|read| *read > 0)?;
        data.truncate(read);
        Some((data, source))
    }))
}

fn unreadable(file: &Path) -> impl Fn(std::io::Error) -> Fault + '_ {
    move |e| Fault::usage("UNREADABLE_FILE", format!("cannot read `{}`: {e}", file.display())).hint(CHECK_PATH)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_in_pieces_if_it_must_and_may() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.txt");
        let of = |bytes: usize| {
            std::fs::File::create(&file).unwrap().set_len(bytes as u64).unwrap();
            size(&file).map_err(|fault| fault.reason)
        };
        assert_eq!(of(limits::BODY_BYTES), Ok(None));
        assert_eq!(of(limits::BODY_BYTES + 1), Ok(Some((1 << 20) + 1)));
        assert_eq!(of(limits::TEXT_BYTES), Ok(Some(16 << 20)));
        assert_eq!(of(limits::TEXT_BYTES + 1), Err("BODY_TOO_LARGE"));
        assert!(size(&dir.path().join("none.txt")).is_err());
    }
}
