//! A CloudFormation template as a stack would read it.

use serde_json::{Map, Value, json};
use serde_yaml::{Value as Yaml, value::TaggedValue};

use super::account::{NEW_KEY, Resource};

/// A template, and the value of its parameter `Step`.
pub(crate) struct Template {
    yaml: Yaml,
    step: &'static str,
    /// Parameters with another value than their default.
    given: Vec<(String, Value)>,
    account: String,
    region: String,
    partition: &'static str,
}

impl Template {
    /// Reads a template's text.
    pub(crate) fn read(
        text: &str,
        step: &'static str,
        region: &str,
        partition: &'static str,
    ) -> Self {
        Self {
            yaml: serde_yaml::from_str(text).unwrap(),
            step,
            given: Vec::new(),
            account: "123456789012".to_owned(),
            region: region.to_owned(),
            partition,
        }
    }

    /// Gives a parameter a value.
    pub(crate) fn give(&mut self, name: &str, value: Value) {
        self.given.push((name.to_owned(), value));
    }

    /// Whether something has to be imported, in an operation of its own.
    pub(crate) fn has_steps(&self) -> bool {
        self.yaml.get("Conditions").is_some()
    }

    /// Where the template expects the certificates.
    pub(crate) fn certificates(&self) -> Option<String> {
        let parameter = self.yaml.get("Parameters")?.get("CertificateArchive")?;
        Some(parameter.get("Default")?.as_str()?.to_owned())
    }

    /// The resources of the stack.
    pub(crate) fn resources(&self) -> Vec<Resource> {
        let imports = self.imports();
        let all = self.yaml.get("Resources").unwrap().as_mapping().unwrap();
        let is_there = |(_, resource): &(&Yaml, &Yaml)| {
            let condition = resource.get("Condition").and_then(Yaml::as_str);
            condition.is_none_or(|condition| self.holds(condition))
                && resource.get("Type").unwrap() != "AWS::CloudFormation::WaitConditionHandle"
        };
        all.iter()
            .filter(is_there)
            .map(|(id, resource)| {
                let id = id.as_str().unwrap().to_owned();
                let properties = self.value(resource.get("Properties").unwrap()).unwrap();
                let Value::Object(arguments) = properties else { panic!("{properties}") };
                Resource {
                    kind: resource.get("Type").unwrap().as_str().unwrap().to_owned(),
                    imported: imports.get(&id).map(|of| of.as_object().unwrap().clone()),
                    id,
                    arguments,
                }
            })
            .collect()
    }

    /// What identifies the resources that are imported, by their logical ids.
    fn imports(&self) -> Map<String, Value> {
        let list = self.yaml.get("Metadata").and_then(|all| all.get("EmrEtlGuardImport"));
        let list = list.map_or_else(Vec::new, |list| list.as_sequence().unwrap().clone());
        list.iter()
            .map(|entry| {
                let id = entry.get("LogicalResourceId").unwrap().as_str().unwrap().to_owned();
                (id, self.value(entry.get("ResourceIdentifier").unwrap()).unwrap())
            })
            .collect()
    }

    fn parameter(&self, name: &str) -> Option<Value> {
        if name == "Step" {
            return Some(json!(self.step));
        }
        if let Some((_, value)) = self.given.iter().find(|(given, _)| given == name) {
            return Some(value.clone());
        }
        self.value(self.yaml.get("Parameters")?.get(name)?.get("Default")?)
    }

    /// Whether a condition holds.
    fn holds(&self, name: &str) -> bool {
        let condition = self.yaml.get("Conditions").and_then(|all| all.get(name));
        let Some(Yaml::Tagged(tagged)) = condition else { panic!("{name}: {condition:?}") };
        self.is_true(tagged)
    }

    fn is_true(&self, tagged: &TaggedValue) -> bool {
        let sides = tagged.value.as_sequence().unwrap();
        match tagged.tag.to_string().as_str() {
            "!Equals" => self.value(&sides[0]) == self.value(&sides[1]),
            "!Not" => {
                let Yaml::Tagged(tagged) = &sides[0] else { panic!("{sides:?}") };
                !self.is_true(tagged)
            }
            other => panic!("{other}"),
        }
    }

    /// A value; none for `AWS::NoValue`.
    fn value(&self, node: &Yaml) -> Option<Value> {
        Some(match node {
            Yaml::Sequence(items) => items.iter().filter_map(|item| self.value(item)).collect(),
            Yaml::Mapping(fields) => {
                let field = |(key, value): (&Yaml, &Yaml)| {
                    Some((key.as_str().unwrap().to_owned(), self.value(value)?))
                };
                Value::Object(fields.iter().filter_map(field).collect())
            }
            Yaml::Tagged(tagged) => {
                let value = &tagged.value;
                match tagged.tag.to_string().as_str() {
                    "!Ref" if value.as_str() == Some("AWS::NoValue") => return None,
                    "!Ref" => self.reference(value.as_str().unwrap()),
                    "!GetAtt" => self.attribute(value.as_str().unwrap()),
                    "!Sub" => json!(self.substituted(value.as_str().unwrap())),
                    "!Join" => {
                        let parts = self.value(&value.as_sequence().unwrap()[1]).unwrap();
                        let parts = parts.as_array().unwrap().clone();
                        json!(parts.iter().map(|part| part.as_str().unwrap()).collect::<String>())
                    }
                    "!If" => {
                        let choice = value.as_sequence().unwrap();
                        let holds = self.holds(choice[0].as_str().unwrap());
                        return self.value(&choice[if holds { 1 } else { 2 }]);
                    }
                    other => panic!("{other}"),
                }
            }
            other => serde_json::to_value(other).unwrap(),
        })
    }

    /// What `!Ref` gives: a parameter, or a resource's name.
    fn reference(&self, name: &str) -> Value {
        if let Some(value) = self.parameter(name) {
            return value;
        }
        match self.kind(name) {
            "AWS::KMS::Key" => json!(NEW_KEY),
            "AWS::IAM::Role" => self.property(name, "RoleName"),
            "AWS::SNS::Topic" => json!(self.arn("sns", &self.property(name, "TopicName"))),
            "AWS::SQS::Queue" => {
                let Self { account, region, .. } = self;
                let queue = self.property(name, "QueueName");
                let queue = queue.as_str().unwrap();
                json!(format!("https://sqs.{region}.amazonaws.com/{account}/{queue}"))
            }
            other => panic!("{name}: {other}"),
        }
    }

    fn attribute(&self, path: &str) -> Value {
        let (id, attribute) = path.split_once('.').unwrap();
        if attribute == "QueueName" {
            return self.property(id, attribute);
        }
        assert_eq!(attribute, "Arn");
        let Self { account, region, partition, .. } = self;
        match self.kind(id) {
            "AWS::KMS::Key" => {
                json!(format!("arn:{partition}:kms:{region}:{account}:key/{NEW_KEY}"))
            }
            "AWS::IAM::Role" => {
                let name = self.property(id, "RoleName");
                json!(format!("arn:{partition}:iam::{account}:role/{}", name.as_str().unwrap()))
            }
            "AWS::SQS::Queue" => json!(self.arn("sqs", &self.property(id, "QueueName"))),
            "AWS::Events::Rule" => {
                let name = self.property(id, "Name");
                json!(self.arn("events", &json!(format!("rule/{}", name.as_str().unwrap()))))
            }
            other => panic!("{path}: {other}"),
        }
    }

    fn arn(&self, service: &str, name: &Value) -> String {
        let Self { account, region, partition, .. } = self;
        let name = name.as_str().unwrap();
        format!("arn:{partition}:{service}:{region}:{account}:{name}")
    }

    /// A text with its `${…}` replaced.
    fn substituted(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((fixed, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').unwrap();
            let is_attribute = name.contains('.');
            let value = if is_attribute { self.attribute(name) } else { self.reference(name) };
            out.push_str(fixed);
            out.push_str(value.as_str().unwrap());
            rest = after;
        }
        out + rest
    }

    fn kind(&self, id: &str) -> &str {
        let resource = self.yaml.get("Resources").and_then(|all| all.get(id));
        resource.unwrap_or_else(|| panic!("{id}")).get("Type").unwrap().as_str().unwrap()
    }

    fn property(&self, id: &str, name: &str) -> Value {
        let resource = self.yaml.get("Resources").unwrap().get(id).unwrap();
        self.value(resource.get("Properties").unwrap().get(name).unwrap()).unwrap()
    }
}
