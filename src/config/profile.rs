//! A person's profile: where the node is and who the person is.

use super::read_text;
use crate::domain::fault::Fault;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// `endpoint`, `ca`, `cert`, `key`, `name`; relative paths are relative to the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// `host:port` or `https://host:port` of the own agency's node.
    pub endpoint: String,
    /// The agency's certificate authority, PEM.
    pub ca: PathBuf,
    /// The person's certificate, PEM.
    pub cert: PathBuf,
    /// The person's own key, PKCS#8 PEM. It also signs acts of authority.
    pub key: PathBuf,
    /// The person's name in the agency.
    pub name: String,
}

impl Profile {
    /// Reads and resolves a profile.
    pub fn read(path: &Path) -> Result<Profile, Fault> {
        let mut profile: Profile = toml::from_str(&read_text(path)?).map_err(|e| {
            Fault::usage("BAD_PROFILE", format!("`{}` is not a profile: {}", path.display(), e.message()))
                .hint("a profile has endpoint, ca, cert, key and name")
        })?;
        let base = path.parent().unwrap_or(Path::new("."));
        for p in [&mut profile.ca, &mut profile.cert, &mut profile.key] {
            *p = base.join(&*p);
        }
        Ok(profile)
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        self.endpoint.strip_prefix("https://").unwrap_or(&self.endpoint).trim_end_matches('/')
    }
}
