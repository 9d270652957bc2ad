//! Fault <-> gRPC status. The one table of kinds and codes.

use super::pb::v1::PublishFailure;
use crate::domain::fault::{Fault, FaultKind};
use prost::Message;
use tonic::{Code, Status};

/// google.rpc.Status (google/rpc/status.proto).
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// google.protobuf.Any.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// google.rpc.ErrorInfo (google/rpc/error_details.proto); `hint` travels as metadata.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: std::collections::BTreeMap<String, String>,
}

/// Reasons for which a node has no room, which is another status than a node that is not there.
const SHORT_OF: [&str; 4] = ["OVERLOADED", "DISK_FULL", "MEMORY_FULL", "BUDGET"];
const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const DOMAIN: &str = "hufu";

/// The status a caller gets.
pub fn status_of(fault: &Fault) -> Status {
    let code = match fault.kind {
        FaultKind::Usage => Code::InvalidArgument,
        FaultKind::Refused => Code::PermissionDenied,
        FaultKind::NotFound => Code::NotFound,
        FaultKind::Unavailable if SHORT_OF.contains(&fault.reason) => Code::ResourceExhausted,
        FaultKind::Unavailable => Code::Unavailable,
        FaultKind::Integrity => Code::DataLoss,
        FaultKind::Conflict => Code::FailedPrecondition,
        FaultKind::Partial | FaultKind::Internal => Code::Internal,
    };
    let metadata = fault.hint.iter().map(|h| ("hint".to_owned(), h.clone())).collect();
    let info = ErrorInfo { reason: fault.reason.into(), domain: DOMAIN.into(), metadata };
    let details = vec![Any { type_url: ERROR_INFO.into(), value: info.encode_to_vec() }];
    let rpc = RpcStatus { code: code as i32, message: fault.message.clone(), details };
    Status::with_details(code, fault.message.clone(), rpc.encode_to_vec().into())
}

/// The fault that a status carries; a status from elsewhere is read by its code.
pub fn fault_of(status: &Status) -> Fault {
    let kind = match status.code() {
        Code::InvalidArgument | Code::OutOfRange => FaultKind::Usage,
        Code::PermissionDenied | Code::Unauthenticated => FaultKind::Refused,
        Code::NotFound => FaultKind::NotFound,
        // Unknown comes from no node: it is the transport's word for a connection that broke amid a call.
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled | Code::Unknown => {
            FaultKind::Unavailable
        }
        Code::DataLoss => FaultKind::Integrity,
        Code::Aborted | Code::AlreadyExists | Code::FailedPrecondition => FaultKind::Conflict,
        _ => FaultKind::Internal,
    };
    // A limit of the transport: it knows no reasons of ours.
    if status.code() == Code::ResourceExhausted && status.details().is_empty() {
        return Fault::overloaded("too many calls are under way on one connection");
    }
    let info = RpcStatus::decode(status.details())
        .ok()
        .and_then(|s| s.details.into_iter().find(|d| d.type_url == ERROR_INFO))
        .and_then(|d| ErrorInfo::decode(d.value.as_slice()).ok());
    let mut fault = Fault::new(kind, reason_word(info.as_ref().map_or("", |i| &i.reason), kind), status.message());
    fault.hint = info.and_then(|i| i.metadata.get("hint").cloned());
    if fault.message.is_empty()
        || (fault.hint.is_none()
            && matches!(status.code(), Code::Unavailable | Code::Unknown)
            && status.details().is_empty())
    {
        fault = Fault::unavailable("NODE_UNREACHABLE", "the node does not answer")
            .hint("is it running? see `hufu doctor`, and the profile's endpoint");
    }
    fault
}

/// A status as part of an answer, for a stream that goes on.
pub fn failure_of(status: &Status) -> PublishFailure {
    let (code, message) = (status.code() as i32, status.message().to_owned());
    PublishFailure { code, message, details: status.details().to_vec() }
}

/// The fault that such a part of an answer carries.
pub fn fault_of_failure(failure: PublishFailure) -> Fault {
    let PublishFailure { code, message, details } = failure;
    fault_of(&Status::with_details(Code::from(code), message, details.into()))
}

/// Reasons are static words in this process; a word that is not known here becomes its kind's own.
fn reason_word(word: &str, kind: FaultKind) -> &'static str {
    REASONS.iter().find(|r| **r == word).copied().unwrap_or(match kind {
        FaultKind::Usage => "INVALID",
        FaultKind::Refused => "REFUSED",
        FaultKind::NotFound => "NOT_FOUND",
        FaultKind::Unavailable => "UNAVAILABLE",
        FaultKind::Integrity => "INTEGRITY",
        FaultKind::Conflict => "CONFLICT",
        FaultKind::Partial => "PARTIAL",
        FaultKind::Internal => "INTERNAL",
    })
}

/// Every reason that crosses the wire: `docs/api.md` says what a caller does about their kinds.
const REASONS: &[&str] = &[
    "NOT_FOUND",
    "NO_LEADER",
    "LEDGER_HALTED",
    "BUDGET",
    "FLASH_QUOTA",
    "BAD_WARNING",
    "ATTACHMENT_NOT_RELEASED",
    "BAD_ANSWER",
    "BAD_REASON",
    "ALREADY_SEEN",
    "RECALLED",
    "BAD_SUBJECT",
    "TOO_MANY",
    "NO_ADDRESSEE",
    "BAD_ADDRESSEE",
    "UNREACHABLE",
    "UNKNOWN_PRECEDENCE",
    "UNKNOWN_STATE",
    "UNKNOWN_ANSWER",
    "UNKNOWN_LEVEL",
    "UNKNOWN_TIER",
    "BAD_NODE",
    "BAD_FEDERATION",
    "BAD_HANDLE",
    "BAD_NOTICE_ID",
    "BAD_TERMS",
    "OUTBOX_FULL",
    "RECALLS_FULL",
    "BAD_COMPLAINT",
    "DEADLINE",
    "DISK_FULL",
    "MEMORY_FULL",
    "UNKNOWN_GRADE",
    "UNKNOWN_KIND",
    "UNKNOWN_ROLE",
    "UNKNOWN_AGENCY",
    "UNKNOWN_NODE",
    "BAD_DESCRIPTOR",
    "NODE_REMOVED",
    "UNKNOWN_AGREEMENT",
    "BAD_AGENCY",
    "BAD_AGREEMENT",
    "BAD_RECORD_ID",
    "BAD_COMPARTMENT",
    "BAD_REFERENCE",
    "BAD_DATE",
    "BAD_TITLE",
    "BAD_BODY",
    "BAD_QUERY",
    "BAD_PURPOSE",
    "BAD_ACT",
    "BAD_CSR",
    "BAD_PERSON",
    "BODY_TOO_LARGE",
    "BAD_PORTION",
    "PORTION_ABOVE_RECORD",
    "PORTION_LEFT_OUT",
    "TOO_MANY_PORTIONS",
    "PERIOD_TOO_LONG",
    "PERIOD_ON_INTERNAL",
    "PERIOD_PAST",
    "PERIOD_EMPTY",
    "BAD_CONDITION",
    "ABOVE_CLEARANCE",
    "ABOVE_CEILING",
    "OUTSIDE_AGREEMENT",
    "NOT_A_PARTY",
    "NO_GUIDE",
    "REJECTED",
    "SAME_PERSON",
    "NOT_COVERED",
    "NOT_PROVISIONAL",
    "UNKNOWN_GROUP",
    "BAD_REPORT",
    "BAD_SOURCE",
    "IN_PROGRESS",
    "RELABEL_NEEDED",
    "NOT_OPENABLE",
    "PERSON_CHANGED",
    "POLICY_REFUSED",
    "POLICY_UNAVAILABLE",
    "UNKNOWN_ACTION",
    "SEARCH_FAILED",
    "NOT_ALLOWED",
    "UNKNOWN_PERSON",
    "SUSPENDED",
    "NO_AUTHORITY",
    "VERSION_CONFLICT",
    "EXISTS",
    "EXPIRED",
    "FOLDED",
    "REFUSED_BY_LEDGER",
    "NUMBER_TAKEN",
    "ONE_SEAT",
    "MIXED_CHANGE",
    "UNKNOWN_SUITE",
    "NO_SUITE",
    "NO_GRADE_KEY",
    "BAD_ROOT",
    "AUDIT_FAILED",
    "JOURNAL_FAILED",
    "RETENTION_NEEDED",
    "NOT_FRESH",
    "UNKNOWN_CAVEAT",
    "NOT_SUPPORTED",
    "MARKING_AUTHORITY",
    "NO_AUTHORITY_KEY",
    "UNOPENABLE",
    "SHUTTING_DOWN",
    "AGENCY_SUSPENDED",
    "AUDIT_INVALID",
    "AUDIT_IO",
    "AUDIT_STOPPED",
    "AUDIT_UNAVAILABLE",
    "BAD_CERTIFICATE",
    "BAD_GENESIS",
    "BAD_NAME",
    "BAD_POLICY_SET",
    "BAD_REQUEST",
    "BAD_SIGNATURE",
    "BAD_TLS",
    "BEYOND_LOG",
    "CERTIFICATE",
    "DIRECTORY",
    "FOREIGN_RECORD",
    "INTEGRITY",
    "INTERNAL",
    "INVALID",
    "NODE_UNREACHABLE",
    "OVERLOADED",
    "PEER_REFUSED",
    "TOO_LONG",
    "UNKNOWN_DECISION",
    "UNSIGNED",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reserve::Work;

    #[test]
    fn a_fault_survives_the_trip() {
        let f = Fault::refused("ABOVE_CLEARANCE", "the grade is above your clearance").hint("ask somebody cleared");
        assert_eq!(fault_of(&status_of(&f)), f);
        assert_eq!(fault_of_failure(failure_of(&status_of(&f))), f);
        let full = Fault::unavailable("BUDGET", "it is over").hint("later");
        assert_eq!((status_of(&full).code(), fault_of(&status_of(&full))), (Code::ResourceExhausted, full));
        let odd = Fault::refused("SOMETHING_NEW", "x");
        assert_eq!(fault_of(&status_of(&odd)).kind, FaultKind::Refused);
    }

    /// Whatever is at its bound, in this program or in the transport below it, has one name for people.
    #[test]
    fn what_is_at_its_bound_is_named() {
        let ours = Fault::overloaded("too many calls");
        assert_eq!(status_of(&ours).code(), Code::ResourceExhausted);
        assert_eq!(fault_of(&status_of(&ours)), ours);
        for full in [Work::Content.refusal(), Work::Content.memory_refusal()] {
            assert_eq!((status_of(&full).code(), fault_of(&status_of(&full))), (Code::ResourceExhausted, full));
        }
        let shed = fault_of(&Status::resource_exhausted("Too many active requests for the connection"));
        assert_eq!((shed.reason, shed.kind), ("OVERLOADED", FaultKind::Unavailable));
        assert!(shed.hint.is_some());
    }
}
