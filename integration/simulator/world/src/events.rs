//! Owns EventBridge's default buses: which rules an event fits, and which targets get it.

use serde_json::Value;
use time::OffsetDateTime;

use crate::fate::EventDelivery;
use crate::ids::uuid;
use crate::policy::{Ask, Context, Decision, evaluate_service};
use crate::values::seconds;
use crate::world::{EventRule, Message, World};

/// The principal by which EventBridge sends to targets.
const SERVICE: &str = "events.amazonaws.com";

/// What is wrong with a pattern of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternError {
    /// It is not what AWS takes, for this reason.
    Invalid(&'static str),
    /// AWS takes it, but the simulator has no such comparison.
    NotModelled(String),
}

/// Checks a pattern: an object whose values are lists of what an event may have, or such objects;
/// `$or` has a list of patterns, one of which must fit. Source: Amazon EventBridge user guide,
/// Creating Amazon EventBridge event patterns, and Comparison operators for use in event patterns.
///
/// # Errors
/// [`PatternError`].
pub fn check_pattern(pattern: &Value) -> Result<(), PatternError> {
    let Some(fields) = pattern.as_object() else {
        return Err(PatternError::Invalid("Filter is not an object"));
    };
    if fields.is_empty() {
        return Err(PatternError::Invalid("Empty patterns are not allowed"));
    }
    for (name, value) in fields {
        if let Some(patterns) = alternatives(name, value) {
            patterns.iter().try_for_each(check_pattern)?;
            continue;
        }
        match value {
            Value::Object(_) => check_pattern(value)?,
            Value::Array(values) if values.is_empty() => {
                return Err(PatternError::Invalid("Empty arrays are not allowed"));
            }
            Value::Array(values) => {
                let is_known =
                    |it: &Value| prefix(it).is_some() || !(it.is_object() || it.is_array());
                if !values.iter().all(is_known) {
                    return Err(PatternError::NotModelled(format!("a comparison of {name}")));
                }
            }
            _ => {
                return Err(PatternError::Invalid("\"value\" must be an object or an array"));
            }
        }
    }
    Ok(())
}

/// The patterns of `$or`: at least two objects. Else it is a field like any other.
fn alternatives<'a>(name: &str, value: &'a Value) -> Option<&'a Vec<Value>> {
    let patterns = value.as_array().filter(|_| name == "$or")?;
    (patterns.len() > 1 && patterns.iter().all(Value::is_object)).then_some(patterns)
}

/// The text of a comparison `{"prefix": TEXT}`.
fn prefix(comparison: &Value) -> Option<&str> {
    let fields = comparison.as_object().filter(|fields| fields.len() == 1)?;
    fields.get("prefix")?.as_str()
}

/// Whether an event has what a pattern asks for.
#[must_use]
pub fn fits(pattern: &Value, event: &Value) -> bool {
    let one_fits = |wanted: &Value, present: &Value| match prefix(wanted) {
        Some(start) => present.as_str().is_some_and(|text| text.starts_with(start)),
        None => wanted == present,
    };
    pattern.as_object().is_some_and(|fields| {
        fields.iter().all(|(name, wanted)| {
            if let Some(patterns) = alternatives(name, wanted) {
                return patterns.iter().any(|pattern| fits(pattern, event));
            }
            match wanted {
                Value::Array(values) => {
                    let fits_one = |present: &Value| values.iter().any(|it| one_fits(it, present));
                    match &event[name] {
                        Value::Array(present) => present.iter().any(fits_one),
                        present => fits_one(present),
                    }
                }
                wanted => fits(wanted, &event[name]),
            }
        })
    })
}

impl World {
    /// Sends an event of a service, which comes at this time or later, once, twice or never: as the
    /// settings of the delivery say.
    pub(crate) fn publish(&mut self, event: &Value, due: OffsetDateTime) {
        let EventDelivery { jitter, lost, doubled, .. } = self.event_delivery;
        if self.chance(lost) {
            return;
        }
        let copies = if self.chance(doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let late = if jitter > 0.0 { self.random.f64() * jitter } else { 0.0 };
            self.last_event += 1;
            let place = (due + seconds(late), self.last_event);
            self.events_under_way.insert(place, event.clone());
        }
    }

    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.random.f64() < share
    }

    /// When the next event comes.
    pub(crate) fn next_event(&self) -> Option<OffsetDateTime> {
        self.events_under_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// Delivers the events that have come by now.
    pub(crate) fn deliver_due(&mut self) {
        while self.next_event().is_some_and(|at| at <= self.now)
            && let Some((_, event)) = self.events_under_way.pop_first()
        {
            self.deliver(&event);
        }
    }

    /// Gives an event of a service to the targets of the rules that it fits, and to all queues
    /// without settings.
    fn deliver(&mut self, event: &Value) {
        let mut receivers: Vec<String> = self
            .queues
            .keys()
            .filter(|name| !self.queue_settings.contains_key(*name))
            .cloned()
            .collect();
        for rule in self.event_rules.iter().filter(|rule| rule.takes(event)) {
            receivers.extend(self.queues_of(rule));
        }
        for name in receivers {
            let id = uuid(&mut self.random);
            let message =
                Message { id, body: event.to_string(), receipt: None, hidden_until: None };
            if let Some(messages) = self.queues.get_mut(&name) {
                messages.push(message);
            }
        }
    }

    /// The queues that get the events of a rule: those whose policy lets it send, and whose key
    /// lets EventBridge use it.
    fn queues_of(&self, rule: &EventRule) -> Vec<String> {
        let context = Context::from([
            ("aws:SecureTransport".to_owned(), vec!["true".to_owned()]),
            ("aws:SourceArn".to_owned(), vec![rule.arn()]),
            ("aws:SourceAccount".to_owned(), vec![rule.account.clone()]),
        ]);
        let allows = |policy: &Value, action: &str, resource: &str| {
            let ask = Ask { action, resource, context: &context };
            evaluate_service(policy, &ask, SERVICE) == Decision::Allowed
        };
        let mut queues = Vec::new();
        for target in rule.targets.values() {
            let arn = target["Arn"].as_str().unwrap_or_default();
            let named = self.queue_settings.iter().find(|(_, queue)| arn == queue.arn());
            let Some((key, queue)) = named else { continue };
            let policy = queue.attributes.get("Policy");
            let policy: Option<Value> = policy.and_then(|text| serde_json::from_str(text).ok());
            let may_send = policy.is_some_and(|policy| allows(&policy, "sqs:SendMessage", arn));
            let may_encrypt = match queue.attributes.get("KmsMasterKeyId") {
                None => true,
                Some(key) => self.key(&queue.account, &queue.region, key).is_some_and(|key| {
                    key.manager != "AWS" && allows(&key.policy, "kms:GenerateDataKey", &key.arn())
                }),
            };
            if may_send && may_encrypt {
                queues.push(key.clone());
            }
        }
        queues
    }
}

impl EventRule {
    fn takes(&self, event: &Value) -> bool {
        let pattern: Value = serde_json::from_str(&self.pattern).unwrap_or_default();
        self.enabled
            && event["account"] == self.account.as_str()
            && event["region"] == self.region.as_str()
            && fits(&pattern, event)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{PatternError, check_pattern, fits};

    #[test]
    fn a_pattern_names_what_an_event_may_have() {
        let event =
            json!({"source": "aws.emr", "detail": {"state": "RUNNING", "tags": ["a", "b"]}});
        for (pattern, is_fit) in [
            (json!({"source": ["aws.emr"]}), true),
            (json!({"source": ["aws.ec2", "aws.emr"]}), true),
            (json!({"source": ["aws.ec2"]}), false),
            (json!({"detail": {"state": ["RUNNING"]}}), true),
            (json!({"detail": {"tags": ["b"]}}), true),
            (json!({"source": ["aws.emr"], "detail": {"state": ["STARTING"]}}), false),
            (json!({"detail": {"name": ["x"]}}), false),
            (json!({"source": [{"prefix": "aws."}]}), true),
            (json!({"source": ["x", {"prefix": "emr"}]}), false),
            (json!({"$or": [{"source": ["x"]}, {"detail": {"state": ["RUNNING"]}}]}), true),
            (json!({"$or": [{"source": ["x"]}, {"detail": {"state": ["STARTING"]}}]}), false),
            (json!({"source": ["x"], "$or": [{"source": ["x"]}, {"source": ["aws.emr"]}]}), false),
        ] {
            assert_eq!(check_pattern(&pattern), Ok(()));
            assert_eq!(fits(&pattern, &event), is_fit, "{pattern}");
        }
        for pattern in [json!([]), json!({}), json!({"source": "aws.emr"}), json!({"source": []})] {
            let refused = check_pattern(&pattern);
            assert!(matches!(refused, Err(PatternError::Invalid(_))), "{pattern}");
        }
        let unlike = check_pattern(&json!({"source": [{"anything-but": "aws."}]}));
        assert!(matches!(unlike, Err(PatternError::NotModelled(_))));
    }
}
