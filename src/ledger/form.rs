//! The canonical form of the parts of a state. What a version wrote every later one reads.

use crate::domain::canon::{Canon, CanonError, Reader, Writer, read_set, write_set};
use crate::domain::ids::AgencyId;
use crate::domain::limits;

use super::batch::BatchReply;
use super::genesis::{Authority, Descriptor};
use super::state::{AgencyState, AgreementState, GuideState, NodeState, Pending};

/// An agency, as every version of the state has it but the first.
pub(super) fn write_agency(w: &mut Writer, a: &AgencyState) {
    w.value(a.descriptor.as_ref());
    w.list(a.authorities.values(), |w, (x, suspended)| {
        w.value(x).flag(*suspended);
    });
    w.list(a.introductions.iter(), |w, ((to, month), sealed)| {
        w.value(to).u32(*month).bytes(sealed);
    });
    w.u32(a.standing).option(a.suspended, |w, i| {
        w.u64(i);
    });
    w.list(a.entries.iter(), |w, (handle, (version, hash))| {
        w.value(handle).u32(*version).array(hash);
    });
    write_set(w, &a.barred);
}

/// What [`write_agency`] wrote, or the first version.
pub(super) fn read_agency(r: &mut Reader<'_>, first: bool) -> Result<(AgencyId, AgencyState), CanonError> {
    let descriptor: Descriptor = r.value()?;
    let authorities = r.list(limits::AUTHORITIES, |r| {
        let a: Authority = r.value()?;
        Ok((a.handle, (a, r.flag()?)))
    })?;
    let mut agency = AgencyState::admitted(descriptor, authorities.into_iter().collect());
    let introductions = r.list(limits::INTRODUCTIONS, |r| Ok(((r.value()?, r.u32()?), r.bytes(8192)?.to_vec())))?;
    agency.introductions = introductions.into_iter().collect();
    if !first {
        agency.standing = r.u32()?;
        agency.suspended = r.option(|r| r.u64())?;
        let entries = r.list(limits::ENTRIES, |r| Ok((r.value()?, (r.u32()?, r.array()?))))?;
        agency.entries = entries.into_iter().collect();
        agency.barred = read_set(r, limits::AUTHORITIES)?;
    }
    Ok((agency.descriptor.agency.clone(), agency))
}

impl Canon for NodeState {
    fn write(&self, w: &mut Writer) {
        w.value(&self.agency).str(&self.local).value(&self.key).u64(self.last.0).u64(self.last.1);
        w.option(self.reply.as_ref(), |w, r| r.write(w));
        w.option(self.anchor.as_ref(), |w, (i, h)| {
            w.u64(*i).array(h);
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(NodeState {
            agency: r.value()?,
            local: r.str(32)?.to_owned(),
            key: r.value()?,
            last: (r.u64()?, r.u64()?),
            reply: r.option(BatchReply::read)?,
            anchor: r.option(|r| Ok((r.u64()?, r.array()?)))?,
            content: None,
        })
    }
}

impl Canon for AgreementState {
    fn write(&self, w: &mut Writer) {
        w.value(&self.terms);
        w.list(self.signatures.iter(), |w, (a, h)| {
            w.value(a).value(h);
        });
        w.option(self.in_force, |w, i| {
            w.u64(i);
        });
        w.option(self.ended.as_ref(), |w, (i, why)| {
            w.u64(*i).str(why);
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(AgreementState {
            terms: r.value()?,
            signatures: r.list(limits::AGENCIES, |r| Ok((r.value()?, r.value()?)))?.into_iter().collect(),
            in_force: r.option(|r| r.u64())?,
            ended: r.option(|r| Ok((r.u64()?, r.str(1600)?.to_owned())))?,
        })
    }
}

impl Canon for GuideState {
    fn write(&self, w: &mut Writer) {
        w.value(&self.guide).value(&self.by).u64(self.since);
        w.option(self.ended, |w, i| {
            w.u64(i);
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(GuideState { guide: r.value()?, by: r.value()?, since: r.u64()?, ended: r.option(|r| r.u64())? })
    }
}

impl Pending {
    pub(super) fn write(&self, w: &mut Writer) {
        write_set(w, &self.signers);
        w.value(&self.expires).option(self.subject.as_ref(), |w, (agency, handle)| {
            w.value(agency).value(handle);
        });
    }
    pub(super) fn read_as(r: &mut Reader<'_>, first: bool) -> Result<Self, CanonError> {
        let (signers, expires) = (read_set(r, limits::AUTHORITIES)?, r.value()?);
        let subject = if first { None } else { r.option(|r| Ok((r.value()?, r.value()?)))? };
        Ok(Pending { signers, expires, subject })
    }
}
