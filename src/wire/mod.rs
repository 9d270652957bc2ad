//! Protobuf at the door: generated code, and how faults travel.
//!
//! Generated types go no further than `api`, `cli` and the network files of the rooms that talk to peers. A
//! fault travels as a gRPC status with a google.rpc.Status whose one detail is an ErrorInfo; reasons are
//! stable, and the kind is read back from the reason's domain so that exit codes survive the trip.

mod fault;

pub use fault::{failure_of, fault_of, fault_of_failure, status_of};
/// How generated messages are written and read, and the shared bytes in them.
pub use prost::{Message, bytes::Bytes};

/// Generated from `proto/`; docs are there.
#[allow(clippy::all, missing_docs, reason = "generated code")]
pub mod pb {
    /// The people's API.
    pub mod v1 {
        tonic::include_proto!("hufu.v1");
    }
    /// Node to node.
    pub mod peer {
        tonic::include_proto!("hufu.peer.v1");
    }
}
