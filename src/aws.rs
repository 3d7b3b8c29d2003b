//! Access to AWS: clients, regions, the endpoint rule, time limits and the log of requests.

pub(crate) mod access;
pub(crate) mod answer;
pub(crate) mod answer_form;
pub(crate) mod bucket_region;
pub mod ca_certificates;
pub mod clients;
pub(crate) mod cloudwatch;
pub(crate) mod ec2_query;
pub mod endpoint;
pub(crate) mod fast_s3;
mod http_connector;
pub(crate) mod iam_query;
pub mod log;
pub(crate) mod observers;
mod own_account;
pub(crate) mod patience;
mod query_protocol;
pub(crate) mod read_memory;
pub mod region;
mod shared_client;
pub(crate) mod sns_query;
pub mod trust;
pub(crate) mod whole_list;
