//! Takes back the topic for alerts, the queue with the events of EMR, the rule that fills it, and
//! alarms.

use serde_json::{Value, json};

use crate::{
    aws::cloudwatch::alarm::AlarmDefinition,
    setup::{
        compare::says_the_same,
        piece::{AlarmPiece, AlertTopic, EventQueue, EventRule},
        present::is_as_wanted,
        record::{AppliedAction, AppliedStep, UndoResult},
        undo::{Early, Reverted, Undoing, kept, reverted},
        writes::QueueChange,
    },
};

impl Undoing<'_> {
    /// Deletes a topic that was made, or takes out of one what was added.
    pub(super) async fn topic(
        &mut self,
        step: &AppliedStep,
        of: &AlertTopic,
        present: &Value,
    ) -> Result<(), Early> {
        let piece = &step.piece;
        if step.action == AppliedAction::Create {
            if !is_as_wanted(piece, present) {
                return kept("somebody changed its policy or its key since");
            }
            let subscriptions = present["subscriptions"].as_u64().unwrap_or_default();
            if subscriptions > 0 {
                return kept(format!("subscriptions to it would be lost; it has {subscriptions}"));
            }
            let answer = self.writer.delete_topic(&of.arn).await;
            self.done("DeleteTopic", answer)?;
            return self.is_gone(piece).await;
        }
        let before = step.before.clone().unwrap_or_default();
        let reverted = reverted(&of.policy, Some(&before["policy"]), &present["policy"]);
        let mut left = changed_statements(&reverted.changed);
        let mut did = false;
        if reverted.document == Reverted::Delete {
            left.push("the statements of setup, because a topic must have a policy".to_owned());
        }
        if let Reverted::Document(policy) = reverted.document
            && !says_the_same(&policy, &present["policy"])
        {
            let answer = self.writer.set_topic_policy(&of.arn, &policy).await;
            self.done("SetTopicAttributes", answer)?;
            self.becomes(piece, |present| {
                present.is_some_and(|present| says_the_same(&policy, &present["policy"]))
            })
            .await?;
            did = true;
        }
        if before["key"].is_null() {
            if present["key"] == of.key {
                let answer = self.writer.set_topic_key(&of.arn, "").await;
                self.done("SetTopicAttributes", answer)?;
                let has_none = |present: &Value| present["key"].is_null();
                self.becomes(piece, |present| present.is_some_and(has_none)).await?;
                did = true;
            } else if !present["key"].is_null() {
                left.push("its key, which somebody changed since".to_owned());
            }
        }
        ended(did, &left)
    }

    /// Deletes a queue that was made, or takes out of one what was added.
    pub(super) async fn queue(
        &mut self,
        step: &AppliedStep,
        of: &EventQueue,
        present: &Value,
    ) -> Result<(), Early> {
        let piece = &step.piece;
        let url = present["url"].as_str().unwrap_or_default();
        if step.action == AppliedAction::Create {
            if !is_as_wanted(piece, present) {
                return kept("somebody changed its policy, its encryption or its retention since");
            }
            let answer = self.writer.delete_queue(url).await;
            self.done("DeleteQueue", answer)?;
            return self.is_gone(piece).await;
        }
        let before = step.before.clone().unwrap_or_default();
        let policy_before = Some(&before["policy"]).filter(|policy| !policy.is_null());
        let reverted = reverted(&of.policy, policy_before, &present["policy"]);
        let left = changed_statements(&reverted.changed);
        let policy = match reverted.document {
            Reverted::Nothing => Some(present["policy"].clone()),
            Reverted::Delete => None,
            Reverted::Document(policy) => Some(policy),
        };
        let retention = before["retention"]
            .as_u64()
            .filter(|before| {
                *before != u64::from(of.retention) && present["retention"] == of.retention
            })
            .and_then(|before| before.try_into().ok());
        let was_plain = before["by_sqs"] == false && before["key"].is_null();
        let is_own = present["by_sqs"] == true && present["key"].is_null();
        let by_sqs = (was_plain && is_own).then_some(false);
        let is_same = |policy: Option<&Value>, present: &Value| match policy {
            Some(policy) => says_the_same(policy, present),
            None => present.is_null(),
        };
        let is_same_policy = is_same(policy.as_ref(), &present["policy"]);
        if is_same_policy && by_sqs.is_none() && retention.is_none() {
            return ended(false, &left);
        }
        let change = QueueChange { policy: policy.as_ref(), by_sqs, retention };
        let answer = self.writer.set_queue(url, &change).await;
        self.done("SetQueueAttributes", answer)?;
        self.becomes(piece, |present| {
            present.is_some_and(|present| {
                is_same(policy.as_ref(), &present["policy"])
                    && by_sqs.is_none_or(|by_sqs| present["by_sqs"] == by_sqs)
                    && retention.is_none_or(|retention| present["retention"] == retention)
            })
        })
        .await?;
        ended(true, &left)
    }

    /// Removes the target that was added, and deletes a rule that was made.
    pub(super) async fn event_rule(
        &mut self,
        step: &AppliedStep,
        of: &EventRule,
        present: &Value,
    ) -> Result<(), Early> {
        let piece = &step.piece;
        let ids: Vec<&str> =
            present["targets"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let is_new = step.action == AppliedAction::Create;
        if is_new && !says_the_same(&of.pattern, &present["pattern"]) {
            return kept("somebody changed its pattern since");
        }
        if is_new && let Some(other) = ids.iter().find(|id| **id != EventRule::TARGET) {
            return kept(format!("somebody added a target to it: {other}"));
        }
        let has_target = ids.contains(&EventRule::TARGET);
        if has_target && present["target"] != of.queue {
            return kept("somebody changed its target since");
        }
        if has_target {
            let answer = self.writer.remove_target(of).await;
            self.done("RemoveTargets", answer)?;
            let has_none = |present: &Value| present["target"].is_null();
            self.becomes(piece, |present| present.is_none_or(has_none)).await?;
        }
        if !is_new {
            return ended(has_target, &[]);
        }
        let answer = self.writer.delete_rule(of).await;
        self.done("DeleteRule", answer)?;
        self.is_gone(piece).await
    }
}

impl Undoing<'_> {
    /// Deletes an alarm that was made, or gives one the topics back that it had before.
    pub(super) async fn alarm(
        &mut self,
        step: &AppliedStep,
        of: &AlarmPiece,
        present: &Value,
    ) -> Result<(), Early> {
        let piece = &step.piece;
        if !is_as_wanted(piece, present) {
            return kept("somebody changed it since");
        }
        if step.action == AppliedAction::Create {
            let answer = self.writer.delete_alarm(of.name()).await;
            self.done("DeleteAlarms", answer)?;
            return self.is_gone(piece).await;
        }
        let before: Option<AlarmDefinition> =
            step.before.clone().and_then(|before| serde_json::from_value(before).ok());
        let Some(before) = before else {
            let why = "the report's settings from before cannot be read".to_owned();
            return Err(UndoResult::Failed { why });
        };
        let answer = self.writer.put_alarm(&before).await;
        self.done("PutMetricAlarm", answer)?;
        let wanted = json!(before);
        self.becomes(piece, |present| present.is_some_and(|present| *present == wanted)).await
    }
}

/// What stays of a policy, if somebody changed statements of setup.
fn changed_statements(ids: &[String]) -> Vec<String> {
    let all = ids.join(", ");
    let stays = (!ids.is_empty()).then(|| format!("statements that somebody changed since: {all}"));
    stays.into_iter().collect()
}

/// The end of a step that did something or nothing, and of which something is left.
fn ended(did: bool, left: &[String]) -> Result<(), Early> {
    match (did, left) {
        (true, []) => Ok(()),
        (true, left) => Err(UndoResult::Undone { stays: Some(left.join("; ")) }),
        (false, []) => Err(UndoResult::Gone),
        (false, left) => kept(left.join("; ")),
    }
}
