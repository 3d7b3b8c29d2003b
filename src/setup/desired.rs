//! What `setup` decides from, and the names of what it makes.

use crate::{
    base::{
        digest::sha256,
        names::{AccountId, BucketName, KeyReference, S3Object, partition},
    },
    checks::sample_configuration::has_emr_certificates,
    facts::account_state::PolicyHolder,
    permissions::policy::PermissionOptions,
    settings::policy::Policy,
    setup::options::{SetupExtra, SetupOptions, SetupPart},
    spec::{
        cluster_spec::ClusterSpec,
        data_paths::{DataLocation, DataPaths},
    },
};

/// The key of the certificate archive in a bucket of its own. Its name does not change with time,
/// and a plan never writes over an object.
const ARCHIVE: &str = "emr-certificates.zip";
/// The longest name of a bucket. Source: Amazon S3 user guide, Bucket naming rules.
const LONGEST_BUCKET_NAME: usize = 63;

/// The input of a plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetupInputs<'a> {
    /// The cluster that will be started.
    pub(crate) cluster: &'a ClusterSpec,
    /// The S3 locations that the run will use.
    pub(crate) paths: &'a DataPaths,
    /// The requirements.
    pub(crate) policy: &'a Policy,
    /// The settings on which the guard's own permissions depend.
    pub(crate) permissions: PermissionOptions<'a>,
    /// The choices of the person who runs `setup`.
    pub(crate) options: &'a SetupOptions,
    /// The account that everything must belong to.
    pub(crate) account: &'a AccountId,
    /// The ARN of the role or user of the guard's credentials; never that of a session.
    pub(crate) guard: Option<&'a str>,
    /// The same for the runner's credentials.
    pub(crate) launcher: Option<&'a str>,
    /// The security configuration that the runner config or the settings name now.
    pub(crate) configured: Option<&'a str>,
}

impl<'a> SetupInputs<'a> {
    /// Whether a part is not switched off.
    pub(super) fn makes(&self, part: SetupPart) -> bool {
        !self.options.without.contains(&part)
    }

    /// Whether a part that no launch demands is asked for.
    pub(super) fn makes_extra(&self, extra: SetupExtra) -> bool {
        self.options.with.contains(&extra)
    }

    /// The region of clusters and keys.
    pub(super) fn region(&self) -> &'a str {
        &self.cluster.region.value
    }

    /// The region of the buckets.
    pub(super) fn s3_region(&self) -> &'a str {
        &self.paths.region.value
    }

    /// The partition of every ARN.
    pub(super) fn partition(&self) -> &'static str {
        partition(self.region())
    }

    /// The ending of EMR's and EC2's service principals. Only China has one of its own: IAM in the
    /// European Sovereign Cloud refuses `ec2.amazonaws.eu`. Sources: AWS CLI, `aws emr
    /// create-default-roles`; pulumi-eks issue 2341.
    pub(super) fn domain(&self) -> &'static str {
        if self.partition() == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" }
    }

    /// The ARN of the account itself.
    pub(super) fn root(&self) -> String {
        format!("arn:{}:iam::{}:root", self.partition(), self.account)
    }

    /// The ARN of a role of this account without a path.
    pub(super) fn role_arn(&self, name: &str) -> String {
        format!("arn:{}:iam::{}:role/{name}", self.partition(), self.account)
    }

    /// The ARN of a bucket.
    pub(super) fn bucket_arn(&self, bucket: &BucketName) -> String {
        format!("arn:{}:s3:::{bucket}", partition(self.s3_region()))
    }

    /// The service role's name, without a path.
    pub(super) fn service_role(&self) -> &'a str {
        name_alone(&self.cluster.service_role.value)
    }

    /// The instance profile's name, without a path.
    pub(super) fn instance_profile(&self) -> &'a str {
        name_alone(&self.cluster.instance_profile.value)
    }

    /// The alias of the key that is made.
    pub(super) fn alias(&self) -> String {
        format!("alias/{}", self.options.name)
    }

    /// The key to use: the one of the options, else the first that the policy requires, else the
    /// one with the alias.
    pub(super) fn key(&self) -> KeyReference {
        let expected = self.policy.expected_keys.first().map(|key| KeyReference::new(key));
        let named = self.options.key.clone().or(expected);
        named.unwrap_or_else(|| KeyReference::new(&self.alias()))
    }

    /// Whether the key is the one that `setup` makes, or made.
    pub(super) fn makes_key(&self) -> bool {
        self.key().as_str() == self.alias()
    }

    /// The name of the inline policies that `setup` adds to roles and users.
    pub(crate) fn inline_policy(&self) -> String {
        format!("{}-emr-etl-guard", self.options.name)
    }

    /// The locations that this run touches.
    pub(super) fn touched(&self) -> impl Iterator<Item = &'a DataLocation> {
        let plan = &self.paths.plan;
        self.paths.locations.iter().filter(|location| plan.touches(&location.role))
    }

    /// Where the certificate archive is, or has to be put; none where EMR makes the certificates.
    pub(super) fn archive(&self) -> Option<S3Object> {
        if has_emr_certificates(&self.cluster.release.value) {
            return None;
        }
        let given = self.options.certificates.clone();
        given.or_else(|| {
            let bucket = self.certificate_bucket()?;
            Some(S3Object { bucket, key: ARCHIVE.to_owned() })
        })
    }

    /// The bucket of its own for the certificate archive; none where it is not needed.
    pub(super) fn certificate_bucket(&self) -> Option<BucketName> {
        if self.options.certificates.is_some()
            || has_emr_certificates(&self.cluster.release.value)
            || !self.makes(SetupPart::Certificates)
        {
            return None;
        }
        self.own_bucket("certificates")
    }

    /// The bucket for evidence; none if it is not asked for.
    pub(super) fn evidence_bucket(&self) -> Option<BucketName> {
        self.makes_extra(SetupExtra::EvidenceBucket).then(|| self.own_bucket("evidence")).flatten()
    }

    /// The name of a bucket that is made for one purpose. It has account and region, because names
    /// of buckets are unique among all accounts.
    fn own_bucket(&self, purpose: &str) -> Option<BucketName> {
        let end = format!("-{purpose}-{}-{}", self.account, self.s3_region());
        let legal = |letter: char| match letter.to_ascii_lowercase() {
            letter if letter.is_ascii_lowercase() || letter.is_ascii_digit() => letter,
            _ => '-',
        };
        let name: String = self.options.name.chars().map(legal).collect();
        let name = name.trim_matches('-');
        let space = LONGEST_BUCKET_NAME.saturating_sub(end.len());
        let start = if name.len() <= space && !name.is_empty() {
            name.to_owned()
        } else {
            let digest = &sha256(&self.options.name)[..8];
            let short = &name[..name.len().min(space.saturating_sub(digest.len() + 1))];
            let short = short.trim_end_matches('-');
            if short.is_empty() { digest.to_owned() } else { format!("{short}-{digest}") }
        };
        format!("{start}{end}").parse().ok()
    }

    /// The name of the inline policy for the guard's own role or user. The runner may have the same
    /// one, with a policy of its own.
    pub(super) fn guard_policy(&self) -> String {
        format!("{}-emr-etl-guard-checks", self.options.name)
    }

    /// The holder of the guard's policy, with its ARN; none if it is unknown, of another account,
    /// or the account itself.
    pub(super) fn guard_holder(&self) -> Option<(PolicyHolder, &'a str)> {
        let arn = self.guard?;
        Some((holder(arn, self.account)?, arn))
    }

    /// The holder of the launcher's policies; none if it is unknown, of another account, or the
    /// account itself.
    pub(super) fn launcher_holder(&self) -> Option<(PolicyHolder, &'a str)> {
        let arn = self.launcher?;
        Some((holder(arn, self.account)?, arn))
    }
}

/// The role or user of an ARN of this account.
pub(super) fn holder(arn: &str, account: &AccountId) -> Option<PolicyHolder> {
    let mut parts = arn.splitn(6, ':').skip(4);
    let of = parts.next().filter(|of| *of == account.as_str()).and(parts.next())?;
    match of.split_once('/')? {
        ("role", path) => Some(PolicyHolder::Role(name_alone(path).to_owned())),
        ("user", path) => Some(PolicyHolder::User(name_alone(path).to_owned())),
        _ => None,
    }
}

/// The last part of an ARN, or of a name with a path.
pub(super) fn name_alone(named: &str) -> &str {
    named.rsplit('/').next().unwrap_or(named)
}
