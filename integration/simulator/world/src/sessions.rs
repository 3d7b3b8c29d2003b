//! Owns the sessions of roles that `AssumeRole` gives, and the regions that an account can use.

use time::OffsetDateTime;

use crate::ids::uuid;
use crate::policy::{self, Ask, Decision};
use crate::regions::{OptInStatus, needs_opt_in};
use crate::values::seconds;
use crate::world::{Caller, Role, Session, World};

/// A request for a session.
pub struct AssumeRole<'a> {
    /// The role's ARN.
    pub role: &'a str,
    /// The session's name.
    pub name: &'a str,
    /// `ExternalId`.
    pub external_id: Option<&'a str>,
    /// How long it lasts, in seconds.
    pub duration: u32,
}

/// A session that was given.
#[derive(Debug, Clone)]
pub struct GivenSession {
    /// `ASIA…`
    pub access_key: String,
    /// Its token and its end.
    pub session: Session,
    /// Who it is.
    pub caller: Caller,
}

/// What a session's credentials are worth now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// They are valid, or they belong to no session.
    Valid,
    /// The session's token is missing, or is another one.
    WrongToken,
    /// The session is over.
    Expired,
}

impl World {
    /// Gives a session if the role's trust policy lets the caller have one. None: the role does not
    /// exist, or does not trust the caller; AWS does not say which.
    pub fn assume_role(
        &mut self,
        caller: &Caller,
        request: &AssumeRole<'_>,
    ) -> Option<GivenSession> {
        let role = self.roles.iter().find(|it| it.arn() == request.role)?;
        if !self.is_visible(role.visible_from) || !self.trusts(role, caller, request) {
            return None;
        }
        let Role { id, name, partition, account, .. } = role;
        let resource = format!("assumed-role/{name}/{}", request.name);
        let caller = Caller {
            account: account.clone(),
            arn: format!("arn:{partition}:sts::{account}:{resource}"),
            user_id: format!("{id}:{}", request.name),
        };
        let tail = uuid(&mut self.random).replace('-', "").to_uppercase();
        let access_key = format!("ASIA{}", &tail[..16]);
        let session = Session {
            token: format!("IQoJb3JpZ2luX2Vj{}", uuid(&mut self.random).replace('-', "")),
            expires: self.now + seconds(request.duration.into()),
        };
        self.access_keys.insert(access_key.clone(), caller.clone());
        self.sessions.insert(access_key.clone(), session.clone());
        Some(GivenSession { access_key, session, caller })
    }

    fn trusts(&self, role: &Role, caller: &Caller, request: &AssumeRole<'_>) -> bool {
        let mut context = self.context_of(&caller.arn, &caller.account);
        context.insert("sts:RoleSessionName".to_owned(), vec![request.name.to_owned()]);
        if let Some(id) = request.external_id {
            context.insert("sts:ExternalId".to_owned(), vec![id.to_owned()]);
        }
        let ask = Ask { action: "sts:AssumeRole", resource: request.role, context: &context };
        policy::evaluate_trust(&role.trust, &ask, &caller.arn, &caller.account) == Decision::Allowed
    }

    /// What the credentials of a request are worth now, by their access key id and the token that
    /// came with it.
    #[must_use]
    pub fn session_state(&self, access_key: &str, token: Option<&str>) -> SessionState {
        match self.sessions.get(access_key) {
            None => SessionState::Valid,
            Some(session) if token != Some(session.token.as_str()) => SessionState::WrongToken,
            Some(session) if session.expires <= self.now => SessionState::Expired,
            Some(_) => SessionState::Valid,
        }
    }

    /// Ends the sessions that `AssumeRole` gave so far.
    pub(crate) fn expire_sessions(&mut self) {
        let now: OffsetDateTime = self.now;
        for session in self.sessions.values_mut() {
            session.expires = session.expires.min(now);
        }
    }

    /// Whether an account can use a region.
    #[must_use]
    pub fn opt_in_status(&self, account: &str, region: &str) -> OptInStatus {
        if !needs_opt_in(region) {
            return OptInStatus::NotRequired;
        }
        match self.opted_in.get(account) {
            Some(regions) if regions.contains(region) => OptInStatus::OptedIn,
            _ => OptInStatus::NotOptedIn,
        }
    }
}
