//! The options that say with whom a record is shared, the same wherever records are made.

use crate::domain::ids::{AgencyId, AgreementId};
use crate::domain::label::Compartment;
use crate::domain::record::Kind;
use crate::wire::pb::v1;

#[derive(clap::Args)]
pub(super) struct Marking {
    /// Compartment; may be given several times.
    #[arg(long = "compartment")]
    compartments: Vec<Compartment>,
    /// Agreement to share under; without it the record stays with the own agency.
    #[arg(long)]
    agreement: Option<AgreementId>,
    /// Agencies, comma-separated: narrows the agreement's parties.
    #[arg(long, value_delimiter = ',')]
    release: Vec<AgencyId>,
    /// Kind: report, lead, person, item, fund, place, event or case.
    #[arg(long, default_value = "report")]
    kind: Kind,
}

impl Marking {
    /// A request that says this and nothing else yet.
    pub(super) fn request(&self) -> v1::PublishRequest {
        v1::PublishRequest {
            compartments: self.compartments.iter().map(ToString::to_string).collect(),
            agreement: self.agreement.as_ref().map(ToString::to_string).unwrap_or_default(),
            release: self.release.iter().map(ToString::to_string).collect(),
            kind: self.kind.to_string(),
            ..v1::PublishRequest::default()
        }
    }
}
