//! `hufu.v1.Notices`.

use super::{People, decode, homes, refuse};
use crate::domain::fault::Fault;
use crate::domain::ids::AgencyId;
use crate::domain::notice::{Answer, ReceiptState, Warning};
use crate::domain::time::Millis;
use crate::identity::VerifiedPeer;
use crate::seal::Signature;
use crate::service::{Awaited, Caller, Core, Lead, NoticeAsk, NoticeLine, Tracked};
use crate::wire::pb::v1;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Most lines of an inbox.
const INBOX_MOST: u32 = 500;
/// Notices that a slow terminal may lag behind; the rest waits in the book.
const AHEAD: usize = 16;
/// Longest wait of one call, under the limit that every call has; who waits longer asks again.
const TRACK_MOST: Duration = Duration::from_secs(25);

#[tonic::async_trait]
impl v1::notices_server::Notices for People {
    type WatchStream = ReceiverStream<Result<v1::Notice, Status>>;

    async fn send(&self, request: Request<v1::NoticeSendRequest>) -> Result<Response<v1::NoticeSendReply>, Status> {
        let caller = self.caller(&request)?;
        let ask = ask(request.into_inner()).map_err(refuse)?;
        let (notice, refused) = self.core.notice_send(&caller, ask).await.map_err(refuse)?;
        let (notice, refused) = (notice.to_string(), refused.iter().map(ToString::to_string).collect());
        Ok(Response::new(v1::NoticeSendReply { notice, state: "accepted".into(), refused }))
    }

    async fn watch(&self, request: Request<v1::NoticeWatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        // Who they are is asked again for every notice: somebody suspended meanwhile gets no more.
        self.core.notice_gate(&self.caller(&request)?).await.map_err(refuse)?;
        let (lines, stream) = mpsc::channel(AHEAD);
        let people = self.clone();
        self.urgent.spawn(async move {
            if let Err(status) = people.follow(&request, &lines).await {
                let _ = lines.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn inbox(&self, request: Request<v1::NoticeInboxRequest>) -> Result<Response<v1::NoticeInboxReply>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let mut reply = inbox(&self.core, &caller, &request).await.map_err(refuse)?;
        homes::add_inboxes(&self.core, &caller, &request, &mut reply).await;
        Ok(Response::new(reply))
    }

    async fn show(&self, request: Request<v1::NoticeRequest>) -> Result<Response<v1::Notice>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let own = show(&self.core, &caller, &request);
        let answered = homes::of_notice(&self.core, &caller, &request.notice, (homes::SHOW, &request), own);
        answered.await.map(Response::new).map_err(refuse)
    }

    async fn presented(
        &self,
        request: Request<v1::NoticePresentedRequest>,
    ) -> Result<Response<v1::NoticeDone>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let own = presented(&self.core, &caller, &request);
        let answered = homes::of_notice(&self.core, &caller, &request.notice, (homes::PRESENTED, &request), own);
        answered.await.map(Response::new).map_err(refuse)
    }

    async fn words(&self, request: Request<v1::NoticeSayRequest>) -> Result<Response<v1::NoticeWords>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let own = words(&self.core, &caller, request.clone());
        let answered = homes::of_notice(&self.core, &caller, &request.notice, (homes::WORDS, &request), own);
        answered.await.map(Response::new).map_err(refuse)
    }

    async fn say(&self, request: Request<v1::NoticeSayRequest>) -> Result<Response<v1::NoticeDone>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let own = say(&self.core, &caller, request.clone());
        let answered = homes::of_notice(&self.core, &caller, &request.notice, (homes::SAY, &request), own);
        answered.await.map(Response::new).map_err(refuse)
    }

    async fn track(&self, request: Request<v1::NoticeTrackRequest>) -> Result<Response<v1::NoticeTrackReply>, Status> {
        let peer = request.extensions().get::<VerifiedPeer>().cloned();
        let mut asked = request.into_inner();
        let notice = asked.notice.parse().map_err(refuse)?;
        let deadline = Instant::now() + Duration::from_millis(u64::from(asked.timeout_ms)).min(TRACK_MOST);
        loop {
            let caller = self.known(&peer)?;
            let left = deadline.saturating_duration_since(Instant::now());
            asked.timeout_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
            let here = self.core.follows(&caller, &notice);
            let own = track(&self.core, &caller, asked.clone(), TRACK_MOST);
            let answered = homes::answered(&self.core, &caller, here, (homes::TRACK, &asked), own).await;
            // Somebody suspended meanwhile learns nothing more, from wherever it came.
            self.known(&peer)?;
            let reply: v1::NoticeTrackReply = answered.map_err(refuse)?;
            // Another node waits no longer than its calls may last, and is asked again.
            if reply.reached || reply.ended || here || Instant::now() >= deadline {
                return Ok(Response::new(reply));
            }
        }
    }

    async fn cancel(&self, request: Request<v1::NoticeCancelRequest>) -> Result<Response<v1::NoticeDone>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let own = cancel(&self.core, &caller, request.clone());
        let answered = homes::of_own(&self.core, &caller, &request.notice, (homes::CANCEL, &request), own);
        answered.await.map(Response::new).map_err(refuse)
    }

    async fn recall(&self, request: Request<v1::NoticeRecallRequest>) -> Result<Response<v1::NoticeDone>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let own = recall(&self.core, &caller, request.clone());
        let answered = homes::of_own(&self.core, &caller, &request.notice, (homes::RECALL, &request), own);
        answered.await.map(Response::new).map_err(refuse)
    }

    async fn confirm(&self, request: Request<v1::NoticeRequest>) -> Result<Response<v1::NoticeDone>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let own = confirm(&self.core, &caller, request.clone());
        let answered = homes::of_own(&self.core, &caller, &request.notice, (homes::CONFIRM, &request), own);
        answered.await.map(Response::new).map_err(refuse)
    }
}

/// How many lines an inbox has that was asked for with this limit.
pub(super) fn inbox_limit(limit: u32) -> usize {
    limit.clamp(1, INBOX_MOST) as usize
}

/// What this node took in, for somebody: at this node or at another one of the agency.
pub(super) async fn inbox(
    core: &Core,
    caller: &Caller,
    request: &v1::NoticeInboxRequest,
) -> Result<v1::NoticeInboxReply, Fault> {
    let v1::NoticeInboxRequest { limit } = request;
    let lines = core.notice_inbox(caller, inbox_limit(*limit)).await?;
    Ok(v1::NoticeInboxReply { notices: lines.into_iter().map(line).collect(), away: Vec::new() })
}

pub(super) async fn show(core: &Core, caller: &Caller, request: &v1::NoticeRequest) -> Result<v1::Notice, Fault> {
    let v1::NoticeRequest { notice } = request;
    core.notice_show(caller, &notice.parse()?).await.map(line)
}

pub(super) async fn presented(
    core: &Core,
    caller: &Caller,
    request: &v1::NoticePresentedRequest,
) -> Result<v1::NoticeDone, Fault> {
    let v1::NoticePresentedRequest { notice, recall } = request;
    core.notice_presented(caller, &notice.parse()?, *recall).await?;
    Ok(v1::NoticeDone { refused: Vec::new() })
}

pub(super) async fn words(
    core: &Core,
    caller: &Caller,
    request: v1::NoticeSayRequest,
) -> Result<v1::NoticeWords, Fault> {
    let v1::NoticeSayRequest { notice, answer, text, signature: _ } = request;
    let answer = said(&answer, text)?;
    let (words, letter) = core.notice_words(caller, &notice.parse()?, answer.as_ref()).await?;
    Ok(v1::NoticeWords { words, letter: letter.to_vec() })
}

pub(super) async fn say(core: &Core, caller: &Caller, request: v1::NoticeSayRequest) -> Result<v1::NoticeDone, Fault> {
    let v1::NoticeSayRequest { notice, answer, text, signature } = request;
    let (notice, answer) = (notice.parse()?, said(&answer, text)?);
    let signature = signature.try_into().map_err(|_| Fault::usage("INVALID", "a signature has 64 bytes"))?;
    core.notice_say(caller, &notice, answer, Signature::from_bytes(signature)).await?;
    Ok(v1::NoticeDone { refused: Vec::new() })
}

/// What became of a notice that this node sent, once it is as far as is asked or its time is over; `most` bounds the wait.
pub(super) async fn track(
    core: &Core,
    caller: &Caller,
    request: v1::NoticeTrackRequest,
    most: Duration,
) -> Result<v1::NoticeTrackReply, Fault> {
    let v1::NoticeTrackRequest { notice, wait, timeout_ms } = request;
    let notice = notice.parse()?;
    let wait: Option<ReceiptState> = decode::optional(&wait)?;
    let deadline = Instant::now() + Duration::from_millis(u64::from(timeout_ms)).min(most);
    let (mut changes, mut people) = (core.office.changes(), core.directory.changes());
    core.notice_follow(caller, &notice).await?;
    loop {
        changes.mark_unchanged();
        // Who they are is asked again each time: somebody suspended meanwhile learns nothing more.
        let caller = core.caller_now(caller)?;
        let tracked = core.notice_track(&caller, &notice).await?;
        let awaited = wait.map_or(Awaited::Reached, |w| tracked.awaited(w));
        let news = async {
            tokio::select! {
                _ = changes.changed() => {}
                _ = people.changed() => {}
            }
        };
        if awaited != Awaited::Open || tokio::time::timeout_at(deadline, news).await.is_err() {
            return Ok(track_reply(tracked, awaited));
        }
    }
}

pub(super) async fn cancel(
    core: &Core,
    caller: &Caller,
    request: v1::NoticeCancelRequest,
) -> Result<v1::NoticeDone, Fault> {
    let v1::NoticeCancelRequest { notice, reason } = request;
    core.notice_cancel(caller, &notice.parse()?, &reason).await.map(done)
}

pub(super) async fn recall(
    core: &Core,
    caller: &Caller,
    request: v1::NoticeRecallRequest,
) -> Result<v1::NoticeDone, Fault> {
    let v1::NoticeRecallRequest { notice, reason } = request;
    core.notice_recall(caller, &notice.parse()?, &reason).await.map(done)
}

pub(super) async fn confirm(core: &Core, caller: &Caller, request: v1::NoticeRequest) -> Result<v1::NoticeDone, Fault> {
    let v1::NoticeRequest { notice } = request;
    core.notice_confirm(caller, &notice.parse()?).await.map(done)
}

/// It is done, except towards whom there was no room for a letter.
fn done(refused: Vec<AgencyId>) -> v1::NoticeDone {
    v1::NoticeDone { refused: refused.iter().map(ToString::to_string).collect() }
}

fn ask(request: v1::NoticeSendRequest) -> Result<NoticeAsk, Fault> {
    let v1::NoticeSendRequest {
        to,
        info,
        precedence,
        grade,
        subject,
        body,
        attachments,
        exercise,
        about,
        warning,
        lead,
    } = request;
    Ok(NoticeAsk {
        to,
        info,
        precedence: precedence.parse()?,
        grade: grade.parse()?,
        subject,
        body,
        attachments: attachments.iter().map(|a| a.parse()).collect::<Result<_, _>>()?,
        exercise,
        about: decode::optional(&about)?,
        lead,
        warning: warning.map(read_warning).transpose()?,
    })
}

fn read_warning(w: v1::Warning) -> Result<Warning, Fault> {
    let v1::Warning { level, kind, area, measures, start, end, issuer: _, tier: _ } = w;
    let (issuer, tier) = Default::default();
    let (start, end) = (Millis(start), Millis(end));
    Ok(Warning { level: level.parse()?, kind: kind.parse()?, area, measures, start, end, issuer, tier })
}

fn write_warning(w: Warning) -> v1::Warning {
    let Warning { level, kind, area, measures, start, end, issuer, tier } = w;
    let (level, kind) = (level.to_string(), kind.to_string());
    v1::Warning { level, kind, area, measures, start: start.0, end: end.0, issuer, tier }
}

fn clock(lead: Lead) -> v1::Lead {
    v1::Lead { stage: lead.stage.to_owned(), due: lead.due.0, met: lead.met }
}

fn said(answer: &str, text: String) -> Result<Option<(Answer, String)>, Fault> {
    Ok(decode::optional::<Answer>(answer)?.map(|a| (a, text)))
}

pub(super) fn line(l: NoticeLine) -> v1::Notice {
    let h = l.header;
    v1::Notice {
        notice: h.notice.to_string(),
        from: h.from.to_string(),
        precedence: h.precedence.to_string(),
        grade: h.grade.to_string(),
        subject: l.content.subject,
        body: l.content.body,
        exercise: h.exercise,
        state: l.state.to_string(),
        at: l.at.0,
        ack_by: l.ack_by.map(|by| format!("{}/{by}", h.to)).unwrap_or_default(),
        sender: format!("{}/{}", h.from, l.content.sender),
        action: h.action,
        attachments: l.content.attachments.iter().map(ToString::to_string).collect(),
        about: l.content.about.map(|n| n.to_string()).unwrap_or_default(),
        sent: h.created.0,
        warning: l.content.warning.map(write_warning),
        addressees: l.content.addressees,
        escalated: l.escalated.into_iter().map(str::to_owned).collect(),
        lead: l.lead.map(clock),
        provisional: l.content.provisional,
        reason: l.reason.unwrap_or_default(),
        unopenable: l.unopenable.unwrap_or_default(),
    }
}

fn track_reply(t: Tracked, awaited: Awaited) -> v1::NoticeTrackReply {
    let steps = t.lines.into_iter().map(|l| {
        let (answer, text) = l.answer.map(|(a, text)| (a.to_string(), text)).unwrap_or_default();
        let (agency, by) = (l.agency.to_string(), l.by.unwrap_or_default());
        v1::NoticeStep { agency, state: l.state, at: l.at.0, by, answer, text }
    });
    let (reached, ended) = (awaited == Awaited::Reached, awaited == Awaited::Ended);
    v1::NoticeTrackReply { state: t.state, steps: steps.collect(), reached, lead: t.lead.map(clock), ended }
}
