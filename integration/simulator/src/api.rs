//! Owns the way from an understood call to the service that answers it.

mod cloudwatch;
mod ec2;
mod emr;
mod events;
mod iam;
mod kms;
mod s3;
mod s3control;
mod sns;
mod sqs;
mod sts;

use crate::call::{Call, Service};
use crate::reply::{Answer, Failure};
use emr_world::world::{Caller, World};

/// Lets the service answer. `caller` is none for unsigned requests, which only S3 may serve.
pub(crate) fn answer(world: &mut World, call: &Call, caller: Option<&Caller>) -> Answer {
    let Some(caller) = caller else {
        return match call.service {
            Service::S3 => s3::answer(world, call, None),
            service => Err(Failure::unsigned(service)),
        };
    };
    let answer = match call.service {
        Service::Emr => emr::answer(world, call, caller),
        Service::Kms => kms::answer(world, call, caller),
        Service::Iam => iam::answer(world, call, caller),
        Service::Sns => sns::answer(world, call, caller),
        Service::Events => events::answer(world, call, caller),
        Service::CloudWatch => cloudwatch::answer(world, call, caller),
        Service::Sts => sts::answer(world, call, caller),
        Service::Ec2 => ec2::answer(world, call, caller),
        Service::Sqs => sqs::answer(world, call, caller),
        Service::S3 => s3::answer(world, call, Some(caller)),
        Service::S3Control => s3control::answer(world, call, caller),
    };
    answer.map(|reply| reply.of(call.service))
}
