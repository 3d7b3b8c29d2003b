//! A plan as a CloudFormation template.
//!
//! CloudFormation makes what does not exist. What exists has to be imported first, as it is, by an
//! operation that does nothing else; only the next one can change it. So such a template has the
//! parameter `Step`: with `import` it describes what exists as it is, and with `change` what the
//! plan asks for.

mod network;
mod resources;
pub(crate) mod sentinel;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    base::{
        names::BucketName,
        printable::{Printable, printable},
        text::shell_word,
    },
    setup::{
        code::{
            CodeContext, CodeReference, CodeReferences, TextPart, certificate_uri, identifiers,
            inline_policy_name, key_id, left_alone, missing_certificates, name_description,
            uses_made_key,
        },
        piece::Piece,
        plan::{SetupPlan, Step, StepAction},
    },
};

use self::yaml::{TemplateEntry, TemplateNode, document};

/// The largest template that CloudFormation takes in a request, in bytes. Source: "AWS
/// CloudFormation quotas".
const LARGEST: usize = 51_200;
/// The condition under which changes are made.
const CHANGING: &str = "Changing";

/// The plan as a template in YAML.
pub(crate) fn cloudformation(plan: &SetupPlan, context: &CodeContext<'_>) -> String {
    let code = CloudFormationCode::new(plan, context);
    let template = code.template(&[]);
    if template.len() <= LARGEST {
        return template;
    }
    let too_large = "This template is larger than the 51,200 bytes that CloudFormation takes in a \
                     request: put it in a bucket, and give --template-url in place of \
                     --template-body, and --s3-bucket to `deploy`.";
    code.template(&[String::new(), too_large.to_owned()])
}

/// What every part of the template needs to know.
struct CloudFormationCode<'a> {
    plan: &'a SetupPlan,
    context: &'a CodeContext<'a>,
    /// The steps that the template carries out.
    steps: Vec<&'a Step>,
    /// The steps that it cannot carry out, with the reasons.
    impossible: Vec<(&'a Step, &'static str)>,
    references: CodeReferences,
    /// Whether something has to be imported.
    imports: bool,
    /// The ends of logical ids, by name.
    ids: BTreeMap<String, String>,
}

impl<'a> CloudFormationCode<'a> {
    fn new(plan: &'a SetupPlan, context: &'a CodeContext<'a>) -> Self {
        let (mut steps, mut impossible) = (Vec::new(), Vec::new());
        for step in plan.changes() {
            match why_impossible(step, plan, context) {
                Some(reason) => impossible.push((step, reason)),
                None => steps.push(step),
            }
        }
        let names: BTreeSet<String> = steps.iter().filter_map(|s| name_of(&s.piece)).collect();
        let mut code = Self {
            plan,
            context,
            references: CodeReferences::of(steps.iter().copied(), plan, context),
            steps,
            impossible,
            imports: false,
            ids: identifiers(names.iter().map(String::as_str), words, ""),
        };
        code.imports = !code.import_entries().is_empty();
        code
    }

    /// The end of a logical id.
    fn id(&self, name: &str) -> String {
        self.ids.get(name).cloned().unwrap_or_else(|| words(name))
    }

    /// The template, with further lines of its first comment.
    fn template(&self, notes: &[String]) -> String {
        let mut sections = vec![
            TemplateEntry::new("AWSTemplateFormatVersion", TemplateNode::text("2010-09-09")),
            TemplateEntry::new(
                "Description",
                TemplateNode::text(format!("What emr-etl-guard asks for: {}", self.context.name)),
            ),
        ];
        if self.imports {
            let list = TemplateNode::of_json(&self.imported(), &|text| TemplateNode::text(text));
            let entry = TemplateEntry {
                comment: vec![
                    "What exists and is changed, as --resources-to-import takes it.".to_owned(),
                ],
                key: "EmrEtlGuardImport".to_owned(),
                value: list,
            };
            sections.push(TemplateEntry::new("Metadata", TemplateNode::Map(vec![entry])));
        }
        let parameters = self.parameters();
        if !parameters.is_empty() {
            sections.push(TemplateEntry::new("Parameters", TemplateNode::Map(parameters)));
        }
        if self.imports {
            let equals = TemplateNode::Tagged(
                "!Equals",
                Box::new(TemplateNode::List(vec![
                    TemplateNode::reference("Step"),
                    TemplateNode::text("change"),
                ])),
            );
            sections
                .push(TemplateEntry::new("Conditions", TemplateNode::map([(CHANGING, equals)])));
        }
        let mut resources = self.resources();
        resources.extend(self.network_resources());
        if resources.is_empty() {
            // A template must have a resource. This one makes nothing.
            let handle = TemplateNode::map([(
                "Type",
                TemplateNode::text("AWS::CloudFormation::WaitConditionHandle"),
            )]);
            let comment =
                vec!["The plan changes nothing, and a template needs a resource.".to_owned()];
            resources.push(TemplateEntry { comment, key: "Nothing".to_owned(), value: handle });
        }
        sections.push(TemplateEntry::new("Resources", TemplateNode::Map(resources)));
        let outputs = self.outputs();
        if !outputs.is_empty() {
            sections.push(TemplateEntry::new("Outputs", TemplateNode::Map(outputs)));
        }
        document(&[self.header().as_slice(), notes].concat(), &sections)
    }

    fn header(&self) -> Vec<String> {
        let mut lines = vec![
            format!(
                "What emr-etl-guard asks for in the account {}, region {}, as a CloudFormation \
                 template. Written by `emr-etl-guard setup --cloudformation`.",
                self.context.account, self.context.region
            ),
            String::new(),
        ];
        lines.extend(self.commands());
        if let Some(archive) = missing_certificates(self.plan) {
            lines.push(String::new());
            lines.push(
                printable!(
                    "The certificates of the nodes ({}) are not made here, because CloudFormation \
                     cannot make a private key. Once the stack exists, `emr-etl-guard setup \
                     --apply` finds everything else in place, and puts the archive.",
                    Printable::from(certificate_uri(archive))
                )
                .to_string(),
            );
        }
        let mut left: Vec<String> =
            left_alone(self.plan).iter().map(|line| format!("- {line}")).collect();
        for (step, reason) in &self.impossible {
            let (kind, subject) = (step.piece.kind(), Printable::from(step.piece.subject()));
            left.push(
                printable!("- {kind} {subject}: NOT IN THIS TEMPLATE: {reason}.").to_string(),
            );
        }
        if !left.is_empty() {
            lines.push(String::new());
            lines.push("What this template leaves alone:".to_owned());
            lines.extend(left);
        }
        lines.extend(self.network_lines());
        for advice in &self.plan.advice {
            lines.push(String::new());
            let line = printable!("By hand: seen: {}. Fix: {}.", advice.saw, advice.fix);
            lines.push(line.to_string());
        }
        lines
    }

    /// How to use the template, with commands to copy.
    fn commands(&self) -> Vec<String> {
        let stack = words(self.context.name);
        let stack = if stack.is_empty() { "EmrEtlGuard".to_owned() } else { stack };
        let of = format!("--region {} --stack-name {stack}", shell_word(self.context.region));
        let deploy = "--capabilities CAPABILITY_NAMED_IAM";
        if !self.imports {
            return vec![
                "Usage, with this file as template.yml:".to_owned(),
                format!(
                    "  aws cloudformation deploy {of} --template-file template.yml {deploy} \
                     --no-execute-changeset"
                ),
                "Look at the change set, and execute it.".to_owned(),
            ];
        }
        let import = shell_word(&self.imported().to_string());
        vec![
            "Some of this exists. CloudFormation has to import it before it can change it, and can \
             do nothing else in the same operation; `create-stack` alone would fail. Usage, with \
             this file as template.yml. First import, which changes nothing:"
                .to_owned(),
            format!(
                "  aws cloudformation create-change-set {of} --change-set-name import \
                 --change-set-type IMPORT --template-body file://template.yml {deploy} \
                 --parameters ParameterKey=Step,ParameterValue=import --resources-to-import \
                 {import}"
            ),
            format!(
                "  aws cloudformation wait change-set-create-complete {of} --change-set-name import"
            ),
            format!("  aws cloudformation execute-change-set {of} --change-set-name import"),
            format!("  aws cloudformation wait stack-import-complete {of}"),
            "Then see that what exists is as described, and look at the change set before it is \
             executed:"
                .to_owned(),
            format!("  aws cloudformation detect-stack-drift {of}"),
            format!(
                "  aws cloudformation deploy {of} --template-file template.yml {deploy} \
                 --parameter-overrides Step=change --no-execute-changeset"
            ),
        ]
    }

    fn parameters(&self) -> Vec<TemplateEntry> {
        let mut parameters = Vec::new();
        let mut add = |name: &str, description: &str, default: Option<&str>| {
            let mut fields = vec![("Type", TemplateNode::text("String"))];
            if let Some(default) = default {
                fields.push(("Default", TemplateNode::text(default)));
            }
            fields.push(("Description", TemplateNode::text(description)));
            parameters.push(TemplateEntry::new(name, TemplateNode::map(fields)));
        };
        if !self.references.makes_key && self.steps.iter().any(|step| uses_made_key(step)) {
            add("KmsKeyArn", "The ARN of the KMS key, which is not made here.", None);
        }
        if let Some(uri) = self.references.certificates.as_deref().filter(|uri| self.uses(uri)) {
            add("CertificateArchive", "The URI of the certificate archive.", Some(uri));
        }
        for step in self.steps.iter().filter(|step| step.action == StepAction::Create) {
            if let Some((name, default)) = self.name_parameter(&step.piece) {
                let description = name_description(&step.piece);
                add(&name, &description, Some(&default));
            }
        }
        if self.imports {
            let values = TemplateNode::List(vec![
                TemplateNode::text("import"),
                TemplateNode::text("change"),
            ]);
            let fields = TemplateNode::map([
                ("Type", TemplateNode::text("String")),
                ("AllowedValues", values),
                (
                    "Description",
                    TemplateNode::text(
                        "First import what exists, as it is; then change it and make what is missing.",
                    ),
                ),
            ]);
            parameters.insert(0, TemplateEntry::new("Step", fields));
        }
        parameters
    }

    /// Whether a document has this text.
    fn uses(&self, text: &str) -> bool {
        fn within(value: &Value, wanted: &str) -> bool {
            match value {
                Value::String(text) => text == wanted,
                Value::Array(items) => items.iter().any(|item| within(item, wanted)),
                Value::Object(fields) => fields.values().any(|field| within(field, wanted)),
                _ => false,
            }
        }
        self.steps
            .iter()
            .any(|step| serde_json::to_value(&step.piece).is_ok_and(|piece| within(&piece, text)))
    }

    fn outputs(&self) -> Vec<TemplateEntry> {
        let mut outputs = Vec::new();
        let mut add = |name: &str, description: &str, value: TemplateNode, made: bool| {
            let mut fields = vec![];
            if made && self.imports {
                fields.push(("Condition", TemplateNode::text(CHANGING)));
            }
            fields.push(("Description", TemplateNode::text(description)));
            fields.push(("Value", value));
            outputs.push(TemplateEntry::new(name, TemplateNode::map(fields)));
        };
        let makes_configuration =
            self.steps.iter().any(|s| matches!(s.piece, Piece::SecurityConfiguration(_)));
        if makes_configuration {
            let description = "What aws.emr.security_configuration of the runner config names";
            let name = TemplateNode::reference("SecurityConfiguration");
            add("SecurityConfigurationName", description, name, true);
        }
        if self.references.makes_key {
            add("KmsKeyArn", "The ARN of the KMS key", TemplateNode::attribute("Key", "Arn"), true);
        }
        for step in &self.steps {
            match &step.piece {
                Piece::AlertTopic(_) => {
                    let arn = TemplateNode::reference("AlertTopic");
                    add("AlertSns", "What the guard's setting alert_sns names", arn, true);
                }
                Piece::EventQueue(_) => {
                    let url = TemplateNode::reference("EventQueue");
                    add("EventQueueUrl", "What the guard's setting event_queue names", url, true);
                }
                _ => {}
            }
        }
        outputs
    }

    /// A text of a document.
    fn text(&self, text: &str) -> TemplateNode {
        let parts = self.references.parts(text);
        match parts.as_slice() {
            [] => return TemplateNode::text(""),
            [TextPart::Text(text)] => return TemplateNode::text(text),
            [TextPart::Reference(reference)] => return self.reference(reference),
            _ => {}
        }
        let opens = |part: &TextPart| matches!(part, TextPart::Text(text) if text.contains("${"));
        if parts.iter().any(opens) {
            // `!Sub` would read it as its own.
            let part = |part: &TextPart| match part {
                TextPart::Text(text) => TemplateNode::text(text),
                TextPart::Reference(reference) => self.reference(reference),
            };
            let parts = TemplateNode::List(parts.iter().map(part).collect());
            return TemplateNode::Tagged(
                "!Join",
                Box::new(TemplateNode::List(vec![TemplateNode::text(""), parts])),
            );
        }
        let part = |part: &TextPart| match part {
            TextPart::Text(text) => text.clone(),
            TextPart::Reference(reference) => self.substitution(reference),
        };
        let text: String = parts.iter().map(part).collect();
        TemplateNode::Tagged("!Sub", Box::new(TemplateNode::text(text)))
    }

    fn reference(&self, reference: &CodeReference) -> TemplateNode {
        match reference {
            CodeReference::Key if self.references.makes_key => {
                TemplateNode::attribute("Key", "Arn")
            }
            CodeReference::Key => TemplateNode::reference("KmsKeyArn"),
            CodeReference::RoleArn(name) => {
                TemplateNode::attribute(&format!("Role{}", self.id(name)), "Arn")
            }
            CodeReference::Certificates => TemplateNode::reference("CertificateArchive"),
            CodeReference::BucketArn(_) => TemplateNode::Tagged(
                "!Sub",
                Box::new(TemplateNode::text(self.substitution(reference))),
            ),
        }
    }

    /// A reference within the text of `!Sub`. A bucket's ARN is made from its name: a reference to
    /// the bucket itself would be a circle with the key that the bucket uses.
    fn substitution(&self, reference: &CodeReference) -> String {
        match reference {
            CodeReference::Key if self.references.makes_key => "${Key.Arn}".to_owned(),
            CodeReference::Key => "${KmsKeyArn}".to_owned(),
            CodeReference::RoleArn(name) => format!("${{Role{}.Arn}}", self.id(name)),
            CodeReference::Certificates => "${CertificateArchive}".to_owned(),
            CodeReference::BucketArn(bucket) => format!(
                "arn:{}:s3:::${{NameOfBucket{}}}",
                crate::base::names::partition(self.context.region),
                self.id(bucket.as_str())
            ),
        }
    }

    /// The name of a bucket.
    fn bucket_name(&self, bucket: &BucketName) -> TemplateNode {
        if self.references.makes_bucket(bucket) {
            TemplateNode::reference(format!("NameOfBucket{}", self.id(bucket.as_str())))
        } else {
            TemplateNode::text(bucket.as_str())
        }
    }

    /// What has to be imported: a list as `--resources-to-import` takes it.
    fn imported(&self) -> Value {
        Value::Array(
            self.import_entries()
                .into_iter()
                .map(|(id, kind, identifier)| {
                    json!({
                        "ResourceType": kind,
                        "LogicalResourceId": id,
                        "ResourceIdentifier": identifier,
                    })
                })
                .collect(),
        )
    }
}

/// Why a template cannot carry out a step.
fn why_impossible(
    step: &Step,
    plan: &SetupPlan,
    context: &CodeContext<'_>,
) -> Option<&'static str> {
    let texts = serde_json::to_string(step).unwrap_or_default();
    if texts.contains("{{resolve:") {
        return Some("its text would be read as a reference to a secret");
    }
    match &step.piece {
        Piece::Certificates(_) => Some("a private key is never part of a template"),
        Piece::Alarm(_) => Some("a sentinel has a template of its own"),
        Piece::AlertTopic(_) | Piece::EventQueue(_) | Piece::EventRule(_)
            if step.action != StepAction::Create =>
        {
            Some(
                "it exists, and templates only make such things: `setup --apply` or the Terraform \
                 code changes it",
            )
        }
        Piece::Bucket(_)
        | Piece::BucketEncryption(_)
        | Piece::PublicAccessBlock(_)
        | Piece::BucketPolicy(_)
        | Piece::BucketVersioning(_)
        | Piece::ObjectLock(_)
            if context.s3_region != context.region =>
        {
            Some("a stack only makes buckets of its own region")
        }
        Piece::KeyRotation(rotation) => {
            let has_policy = plan.steps.iter().any(|other| match &other.piece {
                Piece::KeyPolicy(policy) => {
                    policy.key == rotation.key
                        && !matches!(
                            other.action,
                            StepAction::Refuse { .. } | StepAction::Unknown { .. }
                        )
                }
                _ => false,
            });
            (!has_policy).then_some(
                "CloudFormation would also set the key policy, which the plan does not know; \
                 use `aws kms enable-key-rotation`",
            )
        }
        _ => None,
    }
}

/// The name that gives a piece the end of its logical id.
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

/// A logical id from a name: letters and digits, each word with a capital.
fn words(name: &str) -> String {
    key_id(name)
        .split(|character: char| !character.is_ascii_alphanumeric())
        .map(|word| {
            let mut characters = word.chars();
            characters.next().map_or_else(String::new, |first| {
                format!("{}{}", first.to_ascii_uppercase(), characters.as_str())
            })
        })
        .collect()
}
