//! What of the account is in use by live clusters and security configurations, as far as EMR says
//! it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    aws::clients::Aws,
    base::{aws_calls, lookup::Lookup},
    facts::{
        account_state::{PolicyHolder, instance_profile},
        emr::{self, ClusterFacts},
    },
    setup::piece::{InlinePolicy, Piece},
};

/// Whether something is used: by what, or why that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InUse {
    No,
    By(String),
    Unknown(String),
}

/// What EMR uses.
#[derive(Clone, Debug)]
pub(super) struct Uses {
    clusters: Lookup<Vec<ClusterFacts>>,
    /// The roles of the instance profiles of live clusters, by the profile's name.
    roles: BTreeMap<String, Lookup<Option<String>>>,
    /// The content of the security configurations of live clusters, by name.
    configurations: BTreeMap<String, Lookup<Value>>,
}

/// What has to be known of live clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UsesQuery {
    /// Whether anything that clusters use is in question. Otherwise EMR is not asked.
    clusters: bool,
    /// Whether a role is.
    roles: bool,
    /// Whether a key is, which a cluster uses by its security configuration.
    keys: bool,
}

impl UsesQuery {
    /// For a security configuration, which `DescribeCluster` names.
    pub(super) const OF_CONFIGURATION: Self = Self { clusters: true, roles: false, keys: false };

    /// For all of these pieces.
    pub(super) fn of<'a>(pieces: impl IntoIterator<Item = &'a Piece>) -> Self {
        let mut query = Self::default();
        for piece in pieces {
            match piece {
                Piece::SecurityConfiguration(_) | Piece::InstanceProfile(_) => {}
                Piece::Role(_) => query.roles = true,
                Piece::InlinePolicy(InlinePolicy { holder: PolicyHolder::Role(_), .. }) => {
                    query.roles = true;
                }
                Piece::KeyPolicy(_) => query.keys = true,
                _ => continue,
            }
            query.clusters = true;
        }
        query
    }
}

impl Uses {
    pub(super) async fn look(aws: &Aws, query: UsesQuery) -> Self {
        let clusters = if query.clusters {
            emr::live(&aws.emr).await
        } else {
            Lookup::not_asked(&aws_calls::LIST_CLUSTERS, "nothing that clusters use is in question")
        };
        let (mut roles, mut configurations) = (BTreeMap::new(), BTreeMap::new());
        for cluster in clusters.found().into_iter().flatten() {
            if let Some(profile) = cluster.instance_profile.as_deref().map(name_alone)
                && query.roles
                && !roles.contains_key(profile)
            {
                let found = instance_profile(&aws.iam, profile).await;
                let role = found.map(|profile| profile.role.map(|(name, _)| name));
                roles.insert(profile.to_owned(), role);
            }
            if let Some(name) = &cluster.security_configuration
                && query.keys
                && !configurations.contains_key(name)
            {
                let content = emr::security_configuration_content(&aws.emr, name).await;
                configurations.insert(name.clone(), content);
            }
        }
        Self { clusters, roles, configurations }
    }

    /// Whether a live cluster meets a condition: yes, no, or why that is not known.
    fn by_cluster(&self, uses: impl Fn(&ClusterFacts) -> Result<bool, String>) -> InUse {
        let clusters = match &self.clusters {
            Lookup::Found(clusters) => clusters,
            Lookup::Absent => return InUse::No,
            Lookup::Denied(error) | Lookup::Unreachable(error) => {
                return InUse::Unknown(format!("the live clusters are not known ({error})"));
            }
        };
        let mut unknown = None;
        for cluster in clusters {
            match uses(cluster) {
                Ok(true) => return InUse::By(format!("the live cluster {}", cluster.id)),
                Ok(false) => {}
                Err(why) => unknown = Some(why),
            }
        }
        unknown.map_or(InUse::No, InUse::Unknown)
    }

    /// Whether a live cluster uses the security configuration `name`.
    pub(super) fn of_configuration(&self, name: &str) -> InUse {
        self.by_cluster(|cluster| Ok(cluster.security_configuration.as_deref() == Some(name)))
    }

    /// Whether a live cluster uses the instance profile `name`.
    pub(super) fn of_instance_profile(&self, name: &str) -> InUse {
        let is_it = |profile: &String| name_alone(profile) == name;
        self.by_cluster(|cluster| Ok(cluster.instance_profile.as_ref().is_some_and(is_it)))
    }

    /// Whether a live cluster uses the role `name`: as its service role, or by its instance
    /// profile.
    pub(super) fn of_role(&self, name: &str) -> InUse {
        self.by_cluster(|cluster| {
            if cluster.service_role.as_ref().is_some_and(|role| name_alone(role) == name) {
                return Ok(true);
            }
            let Some(profile) = cluster.instance_profile.as_deref().map(name_alone) else {
                return Ok(false);
            };
            match self.roles.get(profile) {
                Some(Lookup::Found(role)) => Ok(role.as_deref() == Some(name)),
                Some(Lookup::Absent) => Ok(false),
                Some(Lookup::Denied(error) | Lookup::Unreachable(error)) => Err(format!(
                    "the role of the instance profile {profile} is not known ({error})"
                )),
                None => Err(format!("the role of the instance profile {profile} is not known")),
            }
        })
    }

    /// Whether a live cluster uses the key with this ARN, by its security configuration.
    pub(super) fn of_key(&self, arn: &str) -> InUse {
        self.by_cluster(|cluster| {
            let Some(name) = &cluster.security_configuration else { return Ok(false) };
            match self.configurations.get(name) {
                Some(Lookup::Found(content)) => Ok(content.to_string().contains(arn)),
                Some(Lookup::Absent) | None => {
                    Err(format!("the security configuration {name} of {} is gone", cluster.id))
                }
                Some(Lookup::Denied(error) | Lookup::Unreachable(error)) => {
                    Err(format!("the security configuration {name} cannot be read ({error})"))
                }
            }
        })
    }
}

/// Whether any security configuration names this object as its certificates.
pub(super) async fn of_archive(aws: &Aws, uri: &str) -> InUse {
    let names = match emr::security_configuration_names(&aws.emr).await {
        Lookup::Found(names) => names,
        Lookup::Absent => return InUse::No,
        Lookup::Denied(error) | Lookup::Unreachable(error) => {
            return InUse::Unknown(format!("the security configurations are not known ({error})"));
        }
    };
    for name in names {
        match emr::security_configuration_content(&aws.emr, &name).await {
            Lookup::Found(content) if holds(&content, uri) => {
                return InUse::By(format!("the security configuration {name}"));
            }
            Lookup::Found(_) | Lookup::Absent => {}
            Lookup::Denied(error) | Lookup::Unreachable(error) => {
                let why = format!("the security configuration {name} cannot be read ({error})");
                return InUse::Unknown(why);
            }
        }
    }
    InUse::No
}

/// Whether a text in `value` is `text`.
fn holds(value: &Value, text: &str) -> bool {
    match value {
        Value::String(own) => own == text,
        Value::Array(items) => items.iter().any(|item| holds(item, text)),
        Value::Object(fields) => fields.values().any(|field| holds(field, text)),
        _ => false,
    }
}

/// The last part of an ARN, or of a name with a path.
fn name_alone(named: &str) -> &str {
    named.rsplit('/').next().unwrap_or(named)
}
