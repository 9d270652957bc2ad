//! The policy set that is part of the program, from `policies/`.

/// The schema.
pub(super) const SCHEMA: &str = include_str!("../../policies/schema.cedarschema");

/// Every policy file with its name, in reading order. A file that is not here is not in force; a test
/// compares this table with the folder.
pub(super) const FILES: &[(&str, &str)] = &[
    ("10-person.cedar", include_str!("../../policies/10-person.cedar")),
    ("20-content.cedar", include_str!("../../policies/20-content.cedar")),
    ("30-reading.cedar", include_str!("../../policies/30-reading.cedar")),
    ("40-marking.cedar", include_str!("../../policies/40-marking.cedar")),
    ("50-authority.cedar", include_str!("../../policies/50-authority.cedar")),
    ("60-audit.cedar", include_str!("../../policies/60-audit.cedar")),
    ("70-export.cedar", include_str!("../../policies/70-export.cedar")),
    ("80-purpose.cedar", include_str!("../../policies/80-purpose.cedar")),
    ("85-notices.cedar", include_str!("../../policies/85-notices.cedar")),
    ("90-permits.cedar", include_str!("../../policies/90-permits.cedar")),
];
