//! Owns CloudTrail: the record of a RunJobFlow, which EventBridge gets where there is a trail.
//!
//! Source of the record: Amazon EMR management guide, Logging Amazon EMR API calls using AWS
//! CloudTrail; AWS CloudTrail user guide, CloudTrail record contents and userIdentity element. Of
//! the event around it: Amazon EventBridge events reference, Amazon EMR events.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::clock::iso_seconds;
use crate::ids::uuid;
use crate::values::seconds;
use crate::world::{Caller, World};

/// A call of RunJobFlow, with its result.
pub struct Launch<'a> {
    /// Who called.
    pub caller: &'a Caller,
    /// The caller's access key id.
    pub access_key: &'a str,
    /// The address it came from, or the name of a service of AWS.
    pub address: &'a str,
    /// `User-Agent`.
    pub agent: &'a str,
    /// The service of AWS that called in the name of the caller.
    pub invoked_by: Option<&'a str>,
    /// The region.
    pub region: &'a str,
    /// When.
    pub at: OffsetDateTime,
    /// The request.
    pub request: &'a Value,
    /// The answer, or code and message of the error.
    pub result: Result<&'a Value, (&'a str, &'a str)>,
}

impl World {
    /// Records a launch, if there is a trail.
    pub fn record_launch(&mut self, launch: &Launch<'_>) {
        let due = launch.at + seconds(self.event_delivery.trail_delay);
        // What came before now is in no queue any more that a test can look at.
        if !self.event_delivery.trail || self.queues.is_empty() || due < self.now {
            return;
        }
        let time = iso_seconds(launch.at);
        let mut record = json!({
            "eventVersion": "1.09",
            "userIdentity": self.identity(launch, &time),
            "eventTime": time,
            "eventSource": "elasticmapreduce.amazonaws.com",
            "eventName": "RunJobFlow",
            "awsRegion": launch.region,
            "sourceIPAddress": launch.address,
            "userAgent": launch.agent,
            "requestParameters": lower_camel(launch.request),
            "responseElements": launch.result.ok().map(lower_camel),
            "requestID": uuid(&mut self.random),
            "eventID": uuid(&mut self.random),
            "readOnly": false,
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": launch.caller.account,
            "eventCategory": "Management",
        });
        if let Err((code, message)) = launch.result {
            record["errorCode"] = code.into();
            record["errorMessage"] = message.into();
        }
        let event = json!({
            "version": "0",
            "id": uuid(&mut self.random),
            "detail-type": "AWS API Call via CloudTrail",
            "source": "aws.elasticmapreduce",
            "account": launch.caller.account,
            "time": time,
            "region": launch.region,
            "resources": [],
            "detail": record,
        });
        self.publish(&event, due);
    }

    fn identity(&self, launch: &Launch<'_>, time: &str) -> Value {
        let Caller { account, arn, user_id } = launch.caller;
        let role = self.iam_arn(arn, account);
        let mut identity = json!({
            "type": "IAMUser",
            "principalId": user_id,
            "arn": arn,
            "accountId": account,
            "accessKeyId": launch.access_key,
        });
        let name = role.rsplit('/').next().unwrap_or_default();
        if role == *arn {
            identity["userName"] = name.into();
        } else {
            identity["type"] = "AssumedRole".into();
            identity["sessionContext"] = json!({
                "sessionIssuer": {
                    "type": "Role",
                    "principalId": user_id.split(':').next(),
                    "arn": role,
                    "accountId": account,
                    "userName": name,
                },
                "attributes": {"creationDate": time, "mfaAuthenticated": "false"},
            });
        }
        if let Some(service) = launch.invoked_by {
            identity["invokedBy"] = service.into();
        }
        identity
    }
}

/// CloudTrail writes the names of parameters with a small first letter. The names inside of a map,
/// such as the properties of a configuration, are values.
fn lower_camel(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| {
                let is_map = name == "Properties" && value.is_object();
                let value = if is_map { value.clone() } else { lower_camel(value) };
                let mut letters = name.chars();
                let first = letters.next().map(|it| it.to_ascii_lowercase());
                (first.into_iter().chain(letters).collect(), value)
            });
            Value::Object(members.collect::<Map<String, Value>>())
        }
        Value::Array(items) => items.iter().map(lower_camel).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::lower_camel;

    #[test]
    fn the_names_of_parameters_begin_small_and_those_of_properties_stay() {
        let request = json!({
            "ReleaseLabel": "emr-7.0.0",
            "Configurations": [{"Classification": "x", "Properties": {"Fs.S3": "A"}}],
            "Steps": [{"HadoopJarStep": {"Properties": [{"Key": "K", "Value": "V"}]}}],
        });
        let recorded = json!({
            "releaseLabel": "emr-7.0.0",
            "configurations": [{"classification": "x", "properties": {"Fs.S3": "A"}}],
            "steps": [{"hadoopJarStep": {"properties": [{"key": "K", "value": "V"}]}}],
        });
        assert_eq!(lower_camel(&request), recorded);
    }
}
