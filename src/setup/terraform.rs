//! A plan as Terraform code.
//!
//! Only what the plan makes or changes is managed. What exists and is changed is imported; what is
//! kept has a `removed` block, so that Terraform forgets it, and does not destroy it, if an earlier
//! version of the same files made it.
//!
//! The private key of the certificates is not made here, although the provider `tls` could: it
//! would be in Terraform's state in clear, for everyone who may read the state.

mod network;
mod printer;
mod resources;
pub(crate) mod sentinel;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::printable::{Printable, printable},
    setup::{
        code::{
            CodeContext, CodeReference, CodeReferences, TextPart, certificate_uri, identifiers,
            inline_policy_name, left_alone, missing_certificates, name_description, uses_made_key,
        },
        piece::Piece,
        plan::{SetupPlan, StepAction},
    },
};

use self::printer::{HclBody, HclExpression, TemplatePart};

/// The lowest version of Terraform: `removed` blocks came with 1.7, `import` blocks with 1.5.
const TERRAFORM_VERSION: &str = ">= 1.7";
/// The provider's versions: `blocked_encryption_types` came with 6.22, and is left as it is where
/// it is not given since 6.40 (cloudposse/terraform-aws-cloudfront-s3-cdn, pull request 379).
const PROVIDER_VERSION: &str = "~> 6.40";

/// The plan as Terraform code: the text of each file, by its name. Every file is always there, so
/// that a file of an earlier plan never stays beside those of this one.
pub(crate) fn terraform(
    plan: &SetupPlan,
    context: &CodeContext<'_>,
) -> BTreeMap<&'static str, String> {
    let code = TerraformCode::new(plan, context);
    let mut files: BTreeMap<&'static str, HclBody> = BTreeMap::from([
        ("versions.tf", code.versions()),
        ("main.tf", code.main()),
        ("variables.tf", code.variables()),
        ("outputs.tf", code.outputs()),
        ("imports.tf", code.imports()),
        ("removed.tf", code.removed()),
        ("iam.tf", HclBody::default()),
        ("kms.tf", HclBody::default()),
        ("s3.tf", HclBody::default()),
        ("emr.tf", HclBody::default()),
        ("notifications.tf", HclBody::default()),
        ("network.tf", code.network()),
    ]);
    for (file, title) in [
        ("iam.tf", "Roles, the instance profile, and what roles and users may do."),
        ("kms.tf", "The KMS key and key policies."),
        ("s3.tf", "Buckets, their default encryption, their policies, their public access blocks."),
        ("emr.tf", "The EMR security configuration."),
        ("notifications.tf", "The topic for alerts, and the queue with the events of EMR."),
    ] {
        if let Some(body) = files.get_mut(file) {
            body.comment(title);
        }
    }
    for (file, body) in &mut files {
        let has_some = plan.changes().any(|step| file_of(&step.piece) == *file);
        let of_pieces = ["iam.tf", "kms.tf", "s3.tf", "emr.tf", "notifications.tf"];
        if !has_some && of_pieces.contains(file) {
            body.blank().comment("The plan changes nothing of these.");
        }
    }
    for step in plan.changes() {
        if let Some(body) = files.get_mut(file_of(&step.piece)) {
            code.resource(step, body);
        }
    }
    files.into_iter().map(|(name, body)| (name, body.file())).collect()
}

/// The file where a piece is.
const fn file_of(piece: &Piece) -> &'static str {
    match piece {
        Piece::Role(_) | Piece::InstanceProfile(_) | Piece::InlinePolicy(_) => "iam.tf",
        Piece::Key(_) | Piece::KeyPolicy(_) | Piece::KeyRotation(_) => "kms.tf",
        Piece::Bucket(_)
        | Piece::BucketEncryption(_)
        | Piece::PublicAccessBlock(_)
        | Piece::BucketPolicy(_)
        | Piece::BucketVersioning(_)
        | Piece::ObjectLock(_) => "s3.tf",
        Piece::Certificates(_) | Piece::SecurityConfiguration(_) => "emr.tf",
        Piece::AlertTopic(_) | Piece::EventQueue(_) | Piece::EventRule(_) | Piece::Alarm(_) => {
            "notifications.tf"
        }
    }
}

/// What every part of the code needs to know.
struct TerraformCode<'a> {
    plan: &'a SetupPlan,
    context: &'a CodeContext<'a>,
    references: CodeReferences,
    /// The labels of roles, instance profiles, inline policies, keys and buckets, by name.
    labels: BTreeMap<String, String>,
}

/// The label of the key that is made, and of its alias. It is always the same: a later plan knows
/// the key by its ARN alone.
const KEY_LABEL: &str = "etl";
/// The label of the security configuration, whatever its name: a new one takes the place of the
/// old one.
const CONFIGURATION_LABEL: &str = "emr";

/// The labels of the topic for alerts, and of the queue and the rule for events. They are always
/// the same, so that code without these parts forgets them.
const ALERTS_LABEL: &str = "alerts";
const EVENTS_LABEL: &str = "emr_events";

impl<'a> TerraformCode<'a> {
    fn new(plan: &'a SetupPlan, context: &'a CodeContext<'a>) -> Self {
        let names: BTreeSet<String> = plan.steps.iter().filter_map(|s| name_of(&s.piece)).collect();
        Self {
            plan,
            context,
            references: CodeReferences::of(plan.changes(), plan, context),
            labels: identifiers(names.iter().map(String::as_str), label, "_"),
        }
    }

    /// A name's label.
    fn label(&self, name: &str) -> String {
        self.labels.get(name).cloned().unwrap_or_else(|| label(name))
    }

    /// A text of a document.
    fn text(&self, text: &str) -> HclExpression {
        let parts = self.references.parts(text);
        if let [TextPart::Reference(reference)] = parts.as_slice() {
            return HclExpression::raw(self.reference(reference));
        }
        let part = |part| match part {
            TextPart::Text(text) => TemplatePart::Fixed(text),
            TextPart::Reference(reference) => TemplatePart::Inserted(self.reference(&reference)),
        };
        HclExpression::Text(parts.into_iter().map(part).collect())
    }

    fn reference(&self, reference: &CodeReference) -> String {
        match reference {
            CodeReference::Key if self.references.makes_key => {
                format!("aws_kms_key.{KEY_LABEL}.arn")
            }
            CodeReference::Key => "var.kms_key_arn".to_owned(),
            CodeReference::RoleArn(name) => format!("aws_iam_role.{}.arn", self.label(name)),
            CodeReference::BucketArn(bucket) => {
                format!("aws_s3_bucket.{}.arn", self.label(bucket.as_str()))
            }
            CodeReference::Certificates => "var.certificate_archive".to_owned(),
        }
    }

    fn versions(&self) -> HclBody {
        let mut aws = HclBody::default();
        aws.attribute(
            "aws",
            HclExpression::Object(vec![
                ("source".to_owned(), HclExpression::text("hashicorp/aws")),
                ("version".to_owned(), HclExpression::text(PROVIDER_VERSION)),
            ]),
        );
        let mut terraform = HclBody::default();
        terraform
            .comment("`removed` blocks need 1.7.")
            .attribute("required_version", HclExpression::text(TERRAFORM_VERSION))
            .blank()
            .comment("`blocked_encryption_types` of buckets needs 6.40.")
            .block("required_providers", aws);
        let mut body = HclBody::default();
        body.block("terraform", terraform).blank();
        let mut tags = HclBody::default();
        tags.attribute("tags", HclExpression::raw("var.tags"));
        let mut provider = HclBody::default();
        provider
            .attribute("region", HclExpression::raw("var.region"))
            .comment("A plan of one account is never applied to another.")
            .attribute(
                "allowed_account_ids",
                HclExpression::List(vec![HclExpression::text(self.context.account.as_str())]),
            )
            .blank()
            .block("default_tags", tags);
        body.block("provider \"aws\"", provider);
        body
    }

    fn main(&self) -> HclBody {
        let mut body = HclBody::default();
        body.comment(&format!(
            "What emr-etl-guard asks for in the account {}, as Terraform code. Written by \
             `emr-etl-guard setup --terraform`.",
            self.context.account
        ));
        body.comment("");
        body.comment("Usage: terraform init, terraform plan, terraform apply.");
        body.comment("");
        body.comment(
            "Read the plan before you apply it. It must not destroy anything; what exists and is \
             changed is imported (imports.tf).",
        );
        if let Some(archive) = missing_certificates(self.plan) {
            body.comment("");
            body.comment(&printable!(
                "The certificates of the nodes ({}) are not made here, because their private key \
                 would be in Terraform's state in clear. Once this is applied, `emr-etl-guard \
                 setup --apply` finds everything else in place, and puts the archive.",
                Printable::from(certificate_uri(archive))
            ));
        }
        let left = left_alone(self.plan);
        if !left.is_empty() {
            body.comment("").comment("What this code leaves alone:");
            left.iter().for_each(|line| {
                body.comment(&format!("- {line}"));
            });
        }
        for advice in &self.plan.advice {
            body.comment("").comment(&printable!(
                "By hand: seen: {}. Fix: {}.",
                advice.saw,
                advice.fix
            ));
        }
        body
    }

    fn variables(&self) -> HclBody {
        let mut body = HclBody::default();
        let mut add =
            |name: &str, description: &str, kind: &str, default: Option<HclExpression>| {
                let mut variable = HclBody::default();
                variable.attribute("description", HclExpression::text(description));
                variable.attribute("type", HclExpression::raw(kind));
                if let Some(default) = default {
                    variable.attribute("default", default);
                }
                body.blank().block(format!("variable \"{name}\""), variable);
            };
        let text = |value: &str| Some(HclExpression::text(value));
        add(
            "region",
            "The region of clusters, keys and security configurations.",
            "string",
            text(self.context.region),
        );
        if self.context.s3_region != self.context.region {
            add("s3_region", "The region of the buckets.", "string", text(self.context.s3_region));
        }
        add(
            "tags",
            "Tags of everything that can have tags.",
            "map(string)",
            Some(HclExpression::Object(vec![])),
        );
        if !self.references.makes_key && self.plan.changes().any(uses_made_key) {
            add("kms_key_arn", "The ARN of the KMS key, which is not made here.", "string", None);
        }
        if let Some(uri) = &self.references.certificates {
            add("certificate_archive", "The URI of the certificate archive.", "string", text(uri));
        }
        for step in self.plan.changes().filter(|step| step.action == StepAction::Create) {
            if let Some((name, default)) = self.name_variable(&step.piece) {
                let description = name_description(&step.piece);
                add(&name, &description, "string", text(&default));
            }
        }
        body
    }

    fn outputs(&self) -> HclBody {
        let mut body = HclBody::default();
        let mut add = |name: &str, description: &str, value: HclExpression| {
            let mut output = HclBody::default();
            output.attribute("description", HclExpression::text(description));
            output.attribute("value", value);
            body.blank().block(format!("output \"{name}\""), output);
        };
        let makes_configuration =
            self.plan.changes().any(|s| matches!(s.piece, Piece::SecurityConfiguration(_)));
        let configuration = match &self.plan.security_configuration {
            _ if makes_configuration => {
                let label = CONFIGURATION_LABEL;
                Some(HclExpression::raw(format!("aws_emr_security_configuration.{label}.name")))
            }
            Some(name) => Some(HclExpression::text(name)),
            None => None,
        };
        if let Some(configuration) = configuration {
            let description = "What `aws.emr.security_configuration` of the runner config names.";
            add("security_configuration", description, configuration);
        }
        if self.references.makes_key {
            let arn = HclExpression::raw(self.reference(&CodeReference::Key));
            add("kms_key_arn", "The ARN of the KMS key.", arn);
        }
        if self.references.certificates.is_some() {
            let uri = HclExpression::raw("var.certificate_archive");
            add("certificate_archive", "Where the certificates are expected.", uri);
        }
        for step in self.plan.changes() {
            let address = self.addresses(&step.piece).into_iter().next().unwrap_or_default();
            match &step.piece {
                Piece::AlertTopic(_) => {
                    let arn = HclExpression::raw(format!("{address}.arn"));
                    add("alert_sns", "What the guard's setting `alert_sns` names.", arn);
                }
                Piece::EventQueue(_) => {
                    let url = HclExpression::raw(format!("{address}.url"));
                    add("event_queue", "What the guard's setting `event_queue` names.", url);
                }
                _ => {}
            }
        }
        body
    }

    fn imports(&self) -> HclBody {
        let mut body = HclBody::default();
        body.comment("What exists and is changed: Terraform imports it before it changes it.");
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for step in self.plan.changes() {
            for (address, id) in self.import_ids(step) {
                if !seen.insert(address.clone()) {
                    continue;
                }
                let mut import = HclBody::default();
                import.attribute("to", HclExpression::raw(address));
                import.attribute("id", HclExpression::text(id));
                body.blank().block("import", import);
            }
        }
        if let Some((address, id)) = self.network_import() {
            let mut import = HclBody::default();
            import.attribute("to", HclExpression::raw(&address));
            import.attribute("id", HclExpression::text(id));
            body.blank().block("import", import);
            seen.insert(address);
        }
        if seen.is_empty() {
            body.blank().comment("Nothing that exists is changed.");
        }
        body
    }

    fn removed(&self) -> HclBody {
        let mut body = HclBody::default();
        body.comment(
            "What is not managed here. If an earlier version of these files made it, Terraform \
             forgets it, and does not destroy it.",
        );
        let [of_network, all_of_network] = self.network_addresses();
        let mut managed: BTreeSet<String> =
            self.plan.changes().flat_map(|step| self.addresses(&step.piece)).collect();
        managed.extend(of_network);
        let mut forgotten: BTreeSet<String> = BTreeSet::from([
            format!("aws_kms_key.{KEY_LABEL}"),
            format!("aws_kms_alias.{KEY_LABEL}"),
            format!("aws_emr_security_configuration.{CONFIGURATION_LABEL}"),
        ]);
        for (kind, label) in [
            ("aws_sns_topic", ALERTS_LABEL),
            ("aws_sns_topic_policy", ALERTS_LABEL),
            ("aws_sqs_queue", EVENTS_LABEL),
            ("aws_sqs_queue_policy", EVENTS_LABEL),
            ("aws_cloudwatch_event_rule", EVENTS_LABEL),
            ("aws_cloudwatch_event_target", EVENTS_LABEL),
        ] {
            forgotten.insert(format!("{kind}.{label}"));
        }
        forgotten.extend(all_of_network);
        forgotten.extend(self.plan.steps.iter().flat_map(|step| self.addresses(&step.piece)));
        forgotten
            .extend(self.plan.steps.iter().filter_map(|step| self.bucket_address(&step.piece)));
        for address in forgotten.difference(&managed) {
            let mut lifecycle = HclBody::default();
            lifecycle.attribute("destroy", HclExpression::raw("false"));
            let mut removed = HclBody::default();
            removed
                .attribute("from", HclExpression::raw(address))
                .blank()
                .block("lifecycle", lifecycle);
            body.blank().block("removed", removed);
        }
        body
    }
}

/// The name that gives a piece its label.
fn name_of(piece: &Piece) -> Option<String> {
    match piece {
        Piece::InlinePolicy(policy) => Some(inline_policy_name(&policy.holder, &policy.name)),
        Piece::Key(_)
        | Piece::Certificates(_)
        | Piece::SecurityConfiguration(_)
        | Piece::AlertTopic(_)
        | Piece::EventQueue(_)
        | Piece::EventRule(_)
        | Piece::Alarm(_) => None,
        _ => Some(piece.subject()),
    }
}

/// A label from a name: letters, digits and `_`, first a letter.
fn label(name: &str) -> String {
    // Of a key's ARN, the id says enough.
    let name = crate::setup::code::key_id(name);
    let mut label = String::new();
    for character in name.chars() {
        if character.is_ascii_alphanumeric() {
            label.push(character.to_ascii_lowercase());
        } else if !label.ends_with('_') && !label.is_empty() {
            label.push('_');
        }
    }
    let label = label.trim_end_matches('_');
    if label.starts_with(|first: char| first.is_ascii_alphabetic()) {
        label.to_owned()
    } else {
        format!("x_{label}")
    }
}
