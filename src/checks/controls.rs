//! The controls of published standards for which each check is evidence, and what a check does not
//! prove about them. One reviewed table, used for the reports for Security Hub and OCSF and for the
//! auditors' page.

use crate::checks::{
    buckets, built, certificates, clusters, config, data, finding::Check, guard_rights, keys,
    launch, network, node_names, node_objects, organization, outputs, overrides, persistent,
    release_lifecycle, roles, security_configuration, traffic, volumes, writes, written,
};

/// The publication of a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ControlStandard {
    Nist80053,
    PciDss,
    Hipaa,
    SecurityHub,
}

impl ControlStandard {
    pub(crate) const ALL: [Self; 4] =
        [Self::Nist80053, Self::PciDss, Self::Hipaa, Self::SecurityHub];

    /// Its name for people.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Nist80053 => "NIST SP 800-53 Rev. 5",
            Self::PciDss => "PCI DSS v4.0.1",
            Self::Hipaa => "HIPAA Security Rule (45 CFR 164.312)",
            Self::SecurityHub => "AWS Security Hub CSPM",
        }
    }
}

/// One control.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Control {
    /// The publication.
    pub(crate) standard: ControlStandard,
    /// Its number there.
    pub(crate) id: &'static str,
    /// A summary of its requirement. Only the publication is binding.
    pub(crate) asks: &'static str,
    /// The publication and its section, or the page of AWS's documentation.
    pub(crate) source: &'static str,
}

impl Control {
    /// Its name in Security Hub's `RelatedRequirements`, in the format of AWS's own findings.
    pub(crate) fn requirement(&self) -> String {
        match self.standard {
            ControlStandard::Nist80053 => format!("NIST.800-53.r5 {}", self.id),
            ControlStandard::PciDss => format!("PCI DSS v4.0.1/{}", self.id),
            ControlStandard::Hipaa => format!("HIPAA 45 CFR {}", self.id),
            ControlStandard::SecurityHub => format!("AWS Security Hub/{}", self.id),
        }
    }
}

/// The controls for which a check is evidence.
#[derive(Debug)]
pub(crate) struct ControlRow {
    /// The check.
    pub(crate) check: &'static Check,
    /// The controls that a passed finding is evidence for.
    pub(crate) controls: &'static [&'static Control],
    /// What a passed finding does not prove about them.
    pub(crate) limits: &'static str,
}

/// A check that is evidence for none of the controls.
#[derive(Debug)]
pub(crate) struct UnmappedCheck {
    /// The check.
    pub(crate) check: &'static Check,
    /// Why none fits.
    pub(crate) reason: &'static str,
}

/// The table's row for the check called `name`.
pub(crate) fn row(name: &str) -> Option<&'static ControlRow> {
    ROWS.iter().find(|row| row.check.name == name)
}

/// The controls of the table, each once, in the order of their standards.
pub(crate) fn all() -> impl Iterator<Item = &'static Control> {
    CONTROLS.iter().copied()
}

/// The checks that are evidence for `control`, in the order of the catalogue.
pub(crate) fn evidence_for(control: &Control) -> impl Iterator<Item = &'static Check> {
    ROWS.iter().filter(move |row| row.controls.contains(&control)).map(|row| row.check)
}

const fn nist(id: &'static str, asks: &'static str, source: &'static str) -> Control {
    Control { standard: ControlStandard::Nist80053, id, asks, source }
}

const fn pci(id: &'static str, asks: &'static str, source: &'static str) -> Control {
    Control { standard: ControlStandard::PciDss, id, asks, source }
}

const fn hipaa(id: &'static str, asks: &'static str, source: &'static str) -> Control {
    Control { standard: ControlStandard::Hipaa, id, asks, source }
}

const fn hub(id: &'static str, asks: &'static str, source: &'static str) -> Control {
    Control { standard: ControlStandard::SecurityHub, id, asks, source }
}

static AC_3: Control = nist(
    "AC-3",
    "Access Enforcement: enforce approved authorizations for logical access to information and \
     system resources, by the applicable policies.",
    "NIST SP 800-53 Rev. 5, section 3.1, AC-3; https://doi.org/10.6028/NIST.SP.800-53r5; \
     read in NIST's OSCAL catalog, version 5.1.1, github.com/usnistgov/oscal-content",
);
static SC_8: Control = nist(
    "SC-8",
    "Transmission Confidentiality and Integrity: protect the confidentiality, the integrity, or \
     both, of transmitted information.",
    "NIST SP 800-53 Rev. 5, section 3.18, SC-8; https://doi.org/10.6028/NIST.SP.800-53r5; \
     read in NIST's OSCAL catalog, version 5.1.1, github.com/usnistgov/oscal-content",
);
static SC_8_1: Control = nist(
    "SC-8(1)",
    "Cryptographic Protection: use cryptographic mechanisms to prevent unauthorized disclosure, to \
     detect changes, or both, during transmission.",
    "NIST SP 800-53 Rev. 5, section 3.18, SC-8(1); https://doi.org/10.6028/NIST.SP.800-53r5; \
     read in NIST's OSCAL catalog, version 5.1.1, github.com/usnistgov/oscal-content",
);
static SC_12: Control = nist(
    "SC-12",
    "Cryptographic Key Establishment and Management: establish and manage keys by the \
     organization's requirements for generation, distribution, storage, access and destruction.",
    "NIST SP 800-53 Rev. 5, section 3.18, SC-12; https://doi.org/10.6028/NIST.SP.800-53r5; \
     read in NIST's OSCAL catalog, version 5.1.1, github.com/usnistgov/oscal-content",
);
static SC_13: Control = nist(
    "SC-13",
    "Cryptographic Protection: determine the cryptographic uses, and implement the types of \
     cryptography that the organization requires for each.",
    "NIST SP 800-53 Rev. 5, section 3.18, SC-13; https://doi.org/10.6028/NIST.SP.800-53r5; \
     read in NIST's OSCAL catalog, version 5.1.1, github.com/usnistgov/oscal-content",
);
static SC_28: Control = nist(
    "SC-28",
    "Protection of Information at Rest: protect the confidentiality, the integrity, or both, of \
     the information at rest that the organization names.",
    "NIST SP 800-53 Rev. 5, section 3.18, SC-28; https://doi.org/10.6028/NIST.SP.800-53r5; \
     read in NIST's OSCAL catalog, version 5.1.1, github.com/usnistgov/oscal-content",
);
static SC_28_1: Control = nist(
    "SC-28(1)",
    "Cryptographic Protection: use cryptographic mechanisms to prevent unauthorized disclosure and \
     modification of information at rest, on the components or media that the organization names.",
    "NIST SP 800-53 Rev. 5, section 3.18, SC-28(1); https://doi.org/10.6028/NIST.SP.800-53r5; \
     read in NIST's OSCAL catalog, version 5.1.1, github.com/usnistgov/oscal-content",
);
static PCI_3_5_1: Control = pci(
    "3.5.1",
    "PAN is unreadable anywhere it is stored: hashes, truncation, index tokens, or strong \
     cryptography with key-management processes and procedures.",
    "PCI DSS v4.0, requirement 3.5.1 (read in a public transcription); AWS names v4.0.1/3.5.1 for \
     S3.17",
);
static PCI_3_7_1: Control = pci(
    "3.7.1",
    "Key-management policies and procedures include the generation of strong keys for stored \
     account data.",
    "PCI DSS v4.0, requirement 3.7.1 (read in two public transcriptions; v4.0.1 not seen)",
);
static PCI_3_7_4: Control = pci(
    "3.7.4",
    "Keys are changed at the end of their cryptoperiod; there is a cryptoperiod for each type of \
     key, and a process for the change.",
    "PCI DSS v4.0, requirement 3.7.4 (read in two public transcriptions); AWS names v4.0.1/3.7.4 \
     for KMS.4",
);
static PCI_4_2_1: Control = pci(
    "4.2.1",
    "Strong cryptography and security protocols protect PAN in transmission over open, public \
     networks: trusted and valid certificates alone, no insecure versions, enough strength.",
    "PCI DSS v4.0, requirement 4.2.1 (read in two public transcriptions); AWS names v4.0.1/4.2.1 \
     for S3.5",
);
static HIPAA_A_1: Control = hipaa(
    "164.312(a)(1)",
    "Access control (standard): technical policies and procedures that allow access only to \
     persons or programs that have been granted access rights.",
    "45 CFR 164.312(a)(1), Access control; read in the CFR of 2019, govinfo.gov",
);
static HIPAA_A_2_IV: Control = hipaa(
    "164.312(a)(2)(iv)",
    "Encryption and decryption (addressable): a mechanism to encrypt and decrypt ePHI.",
    "45 CFR 164.312(a)(2)(iv), Encryption and decryption; read in the CFR of 2003, \
     edocket.access.gpo.gov",
);
static HIPAA_E_1: Control = hipaa(
    "164.312(e)(1)",
    "Transmission security (standard): technical measures against unauthorized access to ePHI that \
     is transmitted over an electronic communications network.",
    "45 CFR 164.312(e)(1), Transmission security; read in ComplianceAsCode/content, \
     controls/hipaa.yml",
);
static HIPAA_E_2_II: Control = hipaa(
    "164.312(e)(2)(ii)",
    "Encryption (addressable): a mechanism to encrypt ePHI whenever deemed appropriate, in \
     transmission.",
    "45 CFR 164.312(e)(2)(ii), Encryption; read in ComplianceAsCode/content, controls/hipaa.yml",
);
static EC2_3: Control = hub(
    "EC2.3",
    "Attached Amazon EBS volumes should be encrypted at rest.",
    "https://docs.aws.amazon.com/securityhub/latest/userguide/ec2-controls.html#ec2-3",
);
static EC2_7: Control = hub(
    "EC2.7",
    "EBS default encryption should be enabled.",
    "https://docs.aws.amazon.com/securityhub/latest/userguide/ec2-controls.html#ec2-7",
);
static EC2_8: Control = hub(
    "EC2.8",
    "EC2 instances should use Instance Metadata Service Version 2 (IMDSv2).",
    "https://docs.aws.amazon.com/securityhub/latest/userguide/ec2-controls.html#ec2-8",
);
static EMR_3: Control = hub(
    "EMR.3",
    "Amazon EMR security configurations should be encrypted at rest.",
    "https://docs.aws.amazon.com/securityhub/latest/userguide/emr-controls.html#emr-3",
);
static EMR_4: Control = hub(
    "EMR.4",
    "Amazon EMR security configurations should be encrypted in transit.",
    "https://docs.aws.amazon.com/securityhub/latest/userguide/emr-controls.html#emr-4",
);
static KMS_3: Control = hub(
    "KMS.3",
    "AWS KMS keys should not be deleted unintentionally.",
    "https://docs.aws.amazon.com/securityhub/latest/userguide/kms-controls.html#kms-3",
);
static KMS_4: Control = hub(
    "KMS.4",
    "AWS KMS key rotation should be enabled.",
    "https://docs.aws.amazon.com/securityhub/latest/userguide/kms-controls.html#kms-4",
);
static REDSHIFT_2: Control = hub(
    "Redshift.2",
    "Connections to Amazon Redshift clusters should be encrypted in transit.",
    "https://docs.aws.amazon.com/securityhub/latest/userguide/redshift-controls.html#redshift-2",
);
static S3_5: Control = hub(
    "S3.5",
    "S3 general purpose buckets should require requests to use SSL.",
    "https://docs.aws.amazon.com/securityhub/latest/userguide/s3-controls.html#s3-5",
);
static S3_8: Control = hub(
    "S3.8",
    "S3 general purpose buckets should block public access.",
    "https://docs.aws.amazon.com/securityhub/latest/userguide/s3-controls.html#s3-8",
);
static S3_17: Control = hub(
    "S3.17",
    "S3 general purpose buckets should be encrypted at rest with AWS KMS keys.",
    "https://docs.aws.amazon.com/securityhub/latest/userguide/s3-controls.html#s3-17",
);

static CONTROLS: &[&Control] = &[
    &AC_3,
    &SC_8,
    &SC_8_1,
    &SC_12,
    &SC_13,
    &SC_28,
    &SC_28_1,
    &PCI_3_5_1,
    &PCI_3_7_1,
    &PCI_3_7_4,
    &PCI_4_2_1,
    &HIPAA_A_1,
    &HIPAA_A_2_IV,
    &HIPAA_E_1,
    &HIPAA_E_2_II,
    &EC2_3,
    &EC2_7,
    &EC2_8,
    &EMR_3,
    &EMR_4,
    &KMS_3,
    &KMS_4,
    &REDSHIFT_2,
    &S3_5,
    &S3_8,
    &S3_17,
];

static BUCKET_AT_REST: &[&Control] = &[&SC_13, &SC_28, &SC_28_1, &PCI_3_5_1, &HIPAA_A_2_IV, &S3_17];
static OBJECTS_AT_REST: &[&Control] = &[&SC_13, &SC_28, &SC_28_1, &PCI_3_5_1, &HIPAA_A_2_IV];
static NODE_TRAFFIC: &[&Control] = &[&SC_8, &SC_8_1, &HIPAA_E_1, &HIPAA_E_2_II];
static WHOLE_CLUSTER: &[&Control] =
    &[&SC_8, &SC_8_1, &SC_28, &SC_28_1, &HIPAA_A_2_IV, &HIPAA_E_1, &HIPAA_E_2_II, &EMR_3, &EMR_4];

const fn proves(
    check: &'static Check,
    controls: &'static [&'static Control],
    limits: &'static str,
) -> ControlRow {
    ControlRow { check, controls, limits }
}

/// The table, in the order of the catalogue.
pub(crate) static ROWS: &[ControlRow] = &[
    proves(
        &launch::AWS_TRUST_STORE,
        &[&SC_8, &SC_8_1],
        "Only the guard's own connections to AWS are looked at. The connections of the runner, of \
         the cluster's nodes and of whoever writes the data are not.",
    ),
    proves(
        &persistent::CLUSTER,
        WHOLE_CLUSTER,
        "That the adopted cluster has the security configuration that was judged, on the day of \
         the look. What ran on it earlier, and what its disks hold from then, is not looked at.",
    ),
    proves(
        &persistent::CONFIGURATION,
        NODE_TRAFFIC,
        "That no documented property of the adopted cluster weakens encryption. Properties that \
         no documentation names, and what its bootstrap scripts did, are not judged.",
    ),
    proves(
        &buckets::DEFAULT_ENCRYPTION,
        BUCKET_AT_REST,
        "A default covers new objects only, and a request's own header beats it. S3 decrypts for \
         everybody whom IAM lets read, so PAN stays readable to them. S3.17 accepts KMS keys \
         alone; this check accepts what the setting `accept_encryption` has. FIPS validation is \
         not looked at.",
    ),
    proves(
        &buckets::TLS_ONLY,
        &[&SC_8, &SC_8_1, &SC_13, &PCI_4_2_1, &HIPAA_E_1, &HIPAA_E_2_II, &S3_5],
        "That a policy denies plain http on this bucket. Which TLS version and cipher a client \
         gets, and how data reaches a collector before S3, is not looked at.",
    ),
    proves(
        &buckets::PUBLIC_ACCESS,
        &[&AC_3, &HIPAA_A_1, &S3_8],
        "That the public cannot be let in. Who within the account, and which other accounts, may \
         read the bucket is not judged; nor is whether they need to.",
    ),
    proves(
        &buckets::CLOJURE_COLLECTOR,
        BUCKET_AT_REST,
        "A default covers new objects only, and a request's own header beats it. What the \
         collector keeps on its own disk before it is put into S3 is not looked at.",
    ),
    proves(
        &writes::WRITTEN,
        OBJECTS_AT_REST,
        "Which encryption the run will ask for, by its settings. That objects were written so is \
         shown by `written-objects` alone.",
    ),
    proves(
        &writes::DOWNGRADE,
        &[&SC_28, &SC_28_1],
        "That no step of this run asks for a weaker encryption than the bucket's default. Other \
         writers to the bucket are not looked at.",
    ),
    proves(
        &writes::OVERRIDES,
        &[&SC_28, &SC_28_1],
        "That no override of the security configuration exempts a bucket of this run. Buckets \
         that the run does not use are not judged.",
    ),
    proves(
        &data::ENCRYPTED,
        OBJECTS_AT_REST,
        "Beyond the setting `data_objects` a sample is looked at. Only locations that this run \
         reads are; `audit` looks at all. S3 decrypts for everybody whom IAM lets read.",
    ),
    proves(
        &data::VERSIONS,
        &[&SC_28],
        "Whether buckets keep earlier versions. Such versions themselves are not looked at; \
         `audit --versions` does that.",
    ),
    proves(
        &security_configuration::S3_AT_REST,
        &[&SC_13, &SC_28, &SC_28_1, &PCI_3_5_1, &HIPAA_A_2_IV, &EMR_3],
        "What EMRFS is told to do on clusters with this security configuration. What other \
         writers do, and FIPS validation of the modules, is not looked at. S3 decrypts for \
         everybody whom IAM lets read.",
    ),
    proves(
        &security_configuration::LOCAL_DISK_AT_REST,
        &[&SC_13, &SC_28, &SC_28_1, &HIPAA_A_2_IV, &EMR_3],
        "That disks of nodes are to be encrypted. No PCI DSS requirement is named: 3.5.1.2 does \
         not accept encryption of whole disks alone for PAN on fixed media. AWS shows no fact \
         about LUKS on a running node.",
    ),
    proves(
        &security_configuration::IN_TRANSIT,
        &[&SC_8, &SC_8_1, &SC_13, &HIPAA_E_1, &HIPAA_E_2_II, &EMR_4],
        "That TLS between nodes is configured; packets are not looked at, and which connections \
         it covers depends on the release. No PCI DSS requirement is named: 4.2.1 is about open, \
         public networks, and nodes talk within a VPC.",
    ),
    proves(
        &security_configuration::METADATA_SERVICE,
        &[&AC_3, &EC2_8],
        "That nodes are to require IMDSv2. What a process on a node does with the role's \
         credentials is not limited by it.",
    ),
    proves(
        &certificates::VALIDITY,
        &[&SC_12],
        "Dates of the certificates alone. How private keys are made, handed out, stored and \
         replaced is not looked at, and revocation is not asked.",
    ),
    proves(
        &certificates::STRENGTH,
        &[&SC_8_1, &SC_13, &HIPAA_E_2_II],
        "Key sizes and signature algorithms of the chain. Protocol versions and ciphers that \
         nodes agree on, and FIPS validation, are not looked at.",
    ),
    proves(
        &keys::EXISTS,
        &[&SC_12],
        "That KMS has the key. Where its material came from, and who may use it, is not judged by \
         this check.",
    ),
    proves(
        &keys::ENABLED,
        &[&SC_12, &KMS_3],
        "The key's state on the day of the look. Who may disable or delete it later is not \
         judged.",
    ),
    proves(
        &keys::SYMMETRIC,
        &[&SC_13, &PCI_3_7_1],
        "That the key is one of KMS for symmetric encryption. Key material that was imported was \
         made elsewhere, in a way that AWS does not show; procedures are not looked at.",
    ),
    proves(
        &keys::ROTATION,
        &[&SC_12, &PCI_3_7_4, &KMS_4],
        "That KMS will rotate the material. Which cryptoperiod the owner has defined is not known, \
         and data from before stays under the older material.",
    ),
    proves(
        &keys::CUSTOMER_MANAGED,
        &[&SC_12],
        "That the account controls the key's policy. What that policy allows, and to whom, is not \
         judged by this check.",
    ),
    proves(
        &keys::LOCAL_DISK,
        &[&SC_12],
        "That the disks' key is one that the policy names. Who may use that key, and the key of a \
         custom provider, are not judged by this check.",
    ),
    proves(
        &network::RELEASE,
        &[&SC_8_1, &SC_28_1],
        "That the release's documentation names the features. That they work on a node is not \
         looked at.",
    ),
    proves(
        &network::EBS_BY_DEFAULT,
        &[&SC_13, &SC_28, &SC_28_1, &HIPAA_A_2_IV, &EC2_7],
        "The account's default in one region, on the day of the look. No PCI DSS requirement is \
         named: 3.5.1.2 does not accept encryption of whole disks alone for PAN on fixed media.",
    ),
    proves(
        &overrides::WEAKENS,
        NODE_TRAFFIC,
        "That no documented property in the runner config weakens encryption. Properties that no \
         documentation names are left to a person's review.",
    ),
    proves(
        &traffic::TARGET_TLS,
        &[&SC_8, &SC_8_1, &PCI_4_2_1, &HIPAA_E_1, &HIPAA_E_2_II, &REDSHIFT_2],
        "What the loader asks for as a client. An sslMode of REQUIRE passes, which does not verify \
         the server's certificate, while 4.2.1 wants trusted ones alone. The store's own \
         setting (`require_ssl`, which Redshift.2 judges) is not asked, nor is how the store keeps \
         the data.",
    ),
    proves(
        &traffic::ENRICHMENT_SOURCES,
        &[&SC_8, &SC_8_1, &PCI_4_2_1, &HIPAA_E_2_II],
        "That addresses in enrichments ask for TLS. Whether certificates are verified, which 4.2.1 \
         wants, and what those servers accept and do with the data, is not looked at.",
    ),
    proves(
        &traffic::MONITORING_TLS,
        &[&SC_8, &SC_8_1],
        "That the runner's own monitoring goes by https. It carries facts about the run, and none \
         of the data that PCI DSS and HIPAA are about.",
    ),
    proves(
        &clusters::SECURITY_CONFIGURATION,
        WHOLE_CLUSTER,
        "That the running cluster has the security configuration that was judged. That its nodes \
         obey it is not looked at, but for volumes (`cluster-volumes`) and objects \
         (`written-objects`).",
    ),
    proves(
        &clusters::PROTECTIONS,
        WHOLE_CLUSTER,
        "What the cluster's security configuration asks for. That its nodes obey it, and what the \
         cluster did before it was watched, is not looked at.",
    ),
    proves(
        &clusters::RELEASE,
        &[&SC_8_1, &SC_28_1],
        "That the cluster runs the release that was judged. That the features work on a node is \
         not looked at.",
    ),
    proves(
        &clusters::STEP_FLAG,
        OBJECTS_AT_REST,
        "What s3-dist-cp was asked to do, by the step's arguments. That objects were written so is \
         shown by `written-objects` alone.",
    ),
    proves(
        &built::CONFIGURATIONS,
        NODE_TRAFFIC,
        "That no documented property of the cluster weakens encryption. Properties that no \
         documentation names, and files changed on a node, are not judged.",
    ),
    proves(
        &built::GROUPS,
        NODE_TRAFFIC,
        "That no documented property of an instance group weakens encryption. Files changed on a \
         node are not looked at.",
    ),
    proves(
        &volumes::VOLUMES,
        &[&SC_13, &SC_28, &SC_28_1, &HIPAA_A_2_IV, &EC2_3],
        "EBS volumes that EC2 shows while the cluster lives. Instance store volumes and LUKS show \
         no such fact. No PCI DSS requirement is named: 3.5.1.2 does not accept encryption of \
         whole disks alone for PAN on fixed media.",
    ),
    proves(
        &built::STEP_ARGUMENTS,
        &[&SC_8_1, &SC_28_1],
        "That no documented setting of a step weakens encryption. What the step's own program does \
         is not looked at.",
    ),
    proves(
        &outputs::OUTPUTS,
        &[&SC_8, &SC_8_1, &SC_28, &SC_28_1, &PCI_3_5_1, &PCI_4_2_1, &HIPAA_A_2_IV, &HIPAA_E_2_II],
        "That defaults and policies of the buckets are at the end what they were before the \
         launch. A change that was undone in between is not seen.",
    ),
    proves(
        &written::OBJECTS,
        OBJECTS_AT_REST,
        "Objects that the run itself wrote; beyond a limit an even sample. Logs that EMR brings \
         later, and copies that others make, are not looked at. S3 decrypts for everybody whom \
         IAM lets read.",
    ),
];

const fn none(check: &'static Check, reason: &'static str) -> UnmappedCheck {
    UnmappedCheck { check, reason }
}

const BASIS: &str = "It shows that the guard's facts are about the right account, server or \
     program: the evidence of all other rows rests on it, and no control here asks for it.";
const STARTS: &str =
    "It shows that the cluster can start and work; that is availability, and no protection.";
const PROGRAM: &str = "It is about the integrity of what runs (NIST SI-7, CM-14), which would need \
     a signature or a digest of every program; this is no proof of that.";
const CAN_USE: &str = "It shows that a role can use a key, so that the cluster works. Least \
     privilege (NIST AC-6) would need proof that no other principal can.";

/// The checks that are evidence for none of the controls, and why.
pub(crate) static UNMAPPED: &[UnmappedCheck] = &[
    none(&config::AMBIGUOUS, BASIS),
    none(&launch::AWS_ENDPOINT, BASIS),
    none(&launch::AWS_PROXY, "It reports through which proxy AWS was asked, and forbids nothing."),
    none(&launch::RUNNER_ROUTE, BASIS),
    none(&launch::RUNNER_VERSION, BASIS),
    none(&launch::SAME_ACCOUNT, BASIS),
    none(&launch::WATCHABLE, "It shows that the guard can find what it must watch."),
    none(&guard_rights::MAY_WATCH, "It shows that the guard can act on what it finds."),
    none(&guard_rights::MAY_TAG, STARTS),
    none(&launch::REPLACED, PROGRAM),
    none(&launch::ENVIRONMENT, PROGRAM),
    none(&persistent::ONE, "It shows that the runner can choose one cluster and does not hang."),
    none(&buckets::EXISTS, "It shows that a bucket is there; other checks judge its protection."),
    none(
        &buckets::OWNER,
        "It shows whose the bucket is. Access control (NIST AC-3) would need a judgement of \
         every principal that may read it.",
    ),
    none(
        &buckets::REGION,
        "It shows in which region data stays; none of these controls asks for one.",
    ),
    none(&writes::POLICY_CLASH, "It shows that the bucket's policy lets the run write at all."),
    none(
        &security_configuration::EXISTS,
        "It shows that there is a security configuration; other checks judge its content.",
    ),
    none(&security_configuration::NO_KERBEROS, STARTS),
    none(&certificates::OBJECT, STARTS),
    none(&certificates::KEY, STARTS),
    none(
        &certificates::CHAIN,
        "It shows that nodes can verify each other; which authorities they should trust is not \
         judged.",
    ),
    none(&certificates::NAMES, STARTS),
    none(&node_objects::PROVIDER, STARTS),
    none(&node_objects::MAY_READ, STARTS),
    none(&keys::REGION, STARTS),
    none(&roles::JOBFLOW_EXISTS, STARTS),
    none(&roles::SERVICE_EXISTS, STARTS),
    none(&roles::JOBFLOW_MAY_USE, CAN_USE),
    none(&roles::SERVICE_MAY_USE, CAN_USE),
    none(&roles::MAPPED_MAY_USE, CAN_USE),
    none(&organization::ALLOWS, STARTS),
    none(
        &release_lifecycle::SUPPORTED,
        "Controls on patches (NIST SI-2, PCI DSS 6.3.3) ask that updates are installed; a release \
         under support is no proof of that.",
    ),
    none(&network::SUBNET, STARTS),
    none(&network::SUBNET_EXISTS, STARTS),
    none(&network::VPC_DNS, STARTS),
    none(&node_names::VPC_DHCP, STARTS),
    none(
        &network::INSTANCE_TYPES,
        "It tells what AWS's documentation says of a family of instances; no fact of an instance \
         shows it.",
    ),
    none(&overrides::REVIEW, "It asks a person to look, and decides nothing."),
    none(&overrides::BOOTSTRAP, PROGRAM),
    none(&overrides::ADDITIONAL_INFO, "It asks a person to look, and decides nothing."),
    none(
        &clusters::SUBNET,
        "It shows that the cluster is in the subnet that was judged; that is a place, and no \
         protection.",
    ),
    none(&built::ROLES, CAN_USE),
    none(&built::AMI, PROGRAM),
    none(&built::BOOTSTRAP, PROGRAM),
    none(&clusters::ENDED, "It shows that a cluster has ended, which costs and risks less."),
    none(&clusters::ORPHANED, "It shows that no cluster goes on without its run."),
    none(&clusters::RUN_DID_ITS_WORK, "It shows that the run's steps ran at all."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::checks::catalogue::CATALOGUE;

    #[test]
    fn every_check_of_the_catalogue_has_one_row_or_one_reason_in_the_catalogues_order() {
        let place = |check: &Check| CATALOGUE.iter().position(|other| other.name == check.name);
        let rows: Vec<_> = ROWS.iter().map(|row| place(row.check).unwrap()).collect();
        let reasons: Vec<_> = UNMAPPED.iter().map(|other| place(other.check).unwrap()).collect();
        assert!(rows.is_sorted() && reasons.is_sorted(), "{rows:?} {reasons:?}");
        let mut all: Vec<usize> = rows.into_iter().chain(reasons).collect();
        all.sort_unstable();
        assert_eq!(all, (0..CATALOGUE.len()).collect::<Vec<_>>());
    }

    #[test]
    fn every_row_names_controls_once_and_in_order_and_says_what_it_does_not_prove() {
        let place = |control: &Control| CONTROLS.iter().position(|other| *other == control);
        for row in ROWS {
            let places: Vec<_> =
                row.controls.iter().map(|control| place(control).unwrap()).collect();
            assert!(!places.is_empty(), "{}", row.check.name);
            assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "{}", row.check.name);
            assert!(row.limits.len() > 40 && row.limits.ends_with('.'), "{}", row.check.name);
            assert!(!row.limits.contains("  "), "{}", row.check.name);
        }
        for other in UNMAPPED {
            assert!(other.reason.len() > 30 && other.reason.ends_with('.'), "{}", other.reason);
            assert!(!other.reason.contains("  "), "{}", other.reason);
        }
    }

    #[test]
    fn every_control_has_a_source_and_a_check_and_its_standard_s_form() {
        let mut requirements = BTreeSet::new();
        assert!(CONTROLS.is_sorted_by_key(|control| control.standard));
        for control in all() {
            assert!(evidence_for(control).next().is_some(), "{} has no check", control.id);
            assert!(requirements.insert(control.requirement()), "{} twice", control.id);
            let section = match control.standard {
                ControlStandard::Nist80053 => format!(", {};", control.id),
                ControlStandard::PciDss => format!("requirement {} ", control.id),
                ControlStandard::Hipaa => format!("45 CFR {},", control.id),
                ControlStandard::SecurityHub => {
                    let service = control.id.split('.').next().unwrap().to_lowercase();
                    let anchor = control.id.to_lowercase().replace('.', "-");
                    format!("/securityhub/latest/userguide/{service}-controls.html#{anchor}")
                }
            };
            assert!(control.source.contains(&section), "{}: {}", control.id, control.source);
        }
    }
}
