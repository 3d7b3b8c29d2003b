//! Owns STS' operations.

use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use crate::xml::Xml;
use emr_world::world::Caller;

pub(super) fn answer(call: &Call, caller: &Caller) -> Answer {
    match call.subject.operation.as_str() {
        "GetCallerIdentity" => {
            let mut xml = Xml::new();
            xml.root(
                "GetCallerIdentityResponse",
                "https://sts.amazonaws.com/doc/2011-06-15/",
                |xml| {
                    xml.element("GetCallerIdentityResult", |xml| {
                        xml.text("Arn", &caller.arn)
                            .text("UserId", &caller.user_id)
                            .text("Account", &caller.account);
                    });
                    xml.element("ResponseMetadata", |xml| {
                        xml.text("RequestId", "00000000-0000-4000-8000-000000000000");
                    });
                },
            );
            Ok(Reply::xml(xml))
        }
        other => Err(Failure::not_modelled(Service::Sts, other)),
    }
}
