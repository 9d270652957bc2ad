//! What a connection is for, settled in its handshake.

use crate::domain::notice::Precedence;

/// What is spoken on a connection. All of it is HTTP/2; the ALPN id (RFC 7301) says which of a node's servers takes the
/// connection. Of a handshake the ids that a client offers are not encrypted: who watches the line sees which connection
/// is which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Calls of people and of nodes.
    Calls,
    /// Letters of one precedence.
    Letters(Precedence),
}

impl Protocol {
    /// The id in the handshake.
    pub(super) fn alpn(self) -> &'static [u8] {
        match self {
            Protocol::Calls => b"h2",
            Protocol::Letters(Precedence::Flash) => b"hufu-notice-flash",
            Protocol::Letters(Precedence::Immediate) => b"hufu-notice-immediate",
            Protocol::Letters(Precedence::Priority) => b"hufu-notice-priority",
            Protocol::Letters(Precedence::Routine) => b"hufu-notice-routine",
        }
    }

    /// The protocol of an id.
    pub(super) fn of_alpn(id: &[u8]) -> Option<Protocol> {
        let letters = Precedence::ALL.iter().map(|p| Protocol::Letters(*p));
        std::iter::once(Protocol::Calls).chain(letters).find(|p| p.alpn() == id)
    }
}
