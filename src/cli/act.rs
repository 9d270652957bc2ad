//! Signing an act of authority with the person's own key and handing it to the node.

use super::client::{Client, fault};
use crate::config::read_text;
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::Handle;
use crate::domain::time::Clock;
use crate::ledger::{Act, SignedAct};
use crate::node::SystemClock;
use crate::seal::SigningKey;
use crate::wire::pb::v1;

/// State of an act that is complete and takes force once a majority of the voters certified it.
pub(super) const UNCERTIFIED: &str = "waiting-for-certificate";
/// A signature counts this long.
const VALID_MS: u64 = 24 * 3600 * 1000;

/// Who the person of the profile is.
pub(super) struct Signer {
    pub(super) handle: Handle,
    pub(super) agency: crate::domain::ids::AgencyId,
    pub(super) federation: crate::domain::ids::FederationId,
    pub(super) name: String,
    key: SigningKey,
}

impl Signer {
    /// Asks the node for the person's handle and reads the key.
    pub(super) async fn of(client: &Client) -> Result<Signer, Fault> {
        let me = client.persons().whoami(v1::WhoamiRequest {}).await.map_err(fault)?.into_inner();
        let person = me.person.ok_or_else(|| Fault::internal("INTERNAL", "the node did not say who you are"))?;
        Ok(Signer {
            handle: person.handle.parse()?,
            agency: me.agency.parse()?,
            federation: me.federation.parse()?,
            name: person.name,
            key: SigningKey::from_pkcs8_pem(&read_text(&client.profile.key)?)?,
        })
    }

    /// The signature under an acknowledgement or an answer.
    pub(super) fn as_person(&self, words: &[u8]) -> Vec<u8> {
        crate::notice::sign_as_person(words, &self.key).as_bytes().to_vec()
    }

    /// The signature under a proposed record.
    pub(super) fn approval(&self, parts: Vec<crate::vault::Part>) -> Vec<u8> {
        let expires = SystemClock.now().plus_ms(VALID_MS);
        crate::vault::Approval::sign(self.federation.clone(), parts, self.handle, expires, &self.key).to_canon()
    }

    /// Signs and submits; the answer is `done`, `pending` or [`UNCERTIFIED`], and the ledger index.
    pub(super) async fn submit(&self, client: &Client, act: &Act, expected: u32) -> Result<(String, u64), Fault> {
        let expires = SystemClock.now().plus_ms(VALID_MS);
        let signed = SignedAct::sign(&self.federation, act, expected, expires, self.handle, &self.key);
        let request = v1::SubmitActRequest {
            act: crate::domain::canon::Canon::to_canon(&signed),
            timeout_ms: client.timeout_ms(),
        };
        let reply = client.federation().submit_act(request).await.map_err(fault)?.into_inner();
        Ok((reply.state, reply.index))
    }
}
