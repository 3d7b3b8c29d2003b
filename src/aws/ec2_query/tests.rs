//! Compares the client with what the SDK's client for EC2 sent and read, as stored in
//! `tests/recorded.json`. That was recorded once, from the simulator and from `tests/answers.json`,
//! before the SDK's client was removed.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_sdk_sts::config::{Credentials, SharedCredentialsProvider};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    answers::{Ec2Attachment, Ec2DhcpOption},
    *,
};
use crate::{
    aws::query_protocol::{
        EndpointSettings,
        tap::{Exchange, Tap, config},
        xml::{AnswerError, Element},
    },
    base::lookup::Lookup,
};

#[derive(Deserialize)]
struct Recorded {
    cases: Vec<Case>,
    /// Region, FIPS, dual-stack, and the resulting endpoint.
    endpoints: Vec<(String, bool, bool, Option<String>)>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    operation: String,
    about: Vec<String>,
    exchanges: Vec<Exchange>,
    read: Value,
}

fn recorded() -> Recorded {
    serde_json::from_str(include_str!("tests/recorded.json")).unwrap()
}

/// Cases in which this client is stricter than the SDK's, or gives a better message: the start and
/// the end of the expected message.
fn stricter(case: &Case) -> Option<(String, String)> {
    let is_stricter = matches!(
        case.name.as_str(),
        // The SDK's client gives only the status.
        "no XML"
            | "no body"
            | "the answer to another question"
            | "a flag that is none"
            | "EC2 stays unwell"
            | "403 without XML"
            | "400 without XML"
            // The SDK's client reads these as complete lists.
            | "cut off"
            | "without a set"
            | "the same token again and again"
    );
    let last = case.exchanges.last().filter(|_| is_stricter)?;
    let operation = &case.operation;
    Some((
        format!("an answer came (HTTP {}, of no type, {} bytes", last.status, last.answer.len()),
        format!("; AWS answers {operation} in XML, with a <{operation}Response>"),
    ))
}

async fn ask(ec2: &Ec2, operation: &str, about: &[String]) -> Value {
    fn lookup<T: Serialize>(call: &Call, result: Called<T>) -> Value {
        let absent =
            ["InvalidSubnetID.NotFound", "InvalidSubnetID.Malformed", "InvalidSubnetId.Malformed"];
        serde_json::to_value(Lookup::from_call(call, &absent, result)).unwrap()
    }
    match operation {
        "DescribeVolumes" => {
            lookup(&aws_calls::DESCRIBE_VOLUMES, ec2.volumes_attached_to(about).await)
        }
        "DescribeSubnets" => lookup(&aws_calls::DESCRIBE_SUBNETS, ec2.subnets(&about[0]).await),
        "DescribeVpcs" => lookup(&aws_calls::DESCRIBE_VPCS, ec2.vpcs(&about[0]).await),
        "DescribeVpcAttribute" => {
            let attribute = [VpcAttribute::DnsSupport, VpcAttribute::DnsHostnames]
                .into_iter()
                .find(|attribute| attribute.name() == about[1])
                .unwrap();
            lookup(
                &aws_calls::DESCRIBE_VPC_ATTRIBUTE,
                ec2.vpc_attribute(&about[0], attribute).await,
            )
        }
        "DescribeDhcpOptions" => {
            lookup(&aws_calls::DESCRIBE_DHCP_OPTIONS, ec2.dhcp_options(&about[0]).await)
        }
        "GetEbsEncryptionByDefault" => {
            lookup(&aws_calls::GET_EBS_ENCRYPTION_BY_DEFAULT, ec2.ebs_encryption_by_default().await)
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn it_sends_and_reads_what_the_sdks_client_sent_and_read() {
    for case in recorded().cases {
        let tap = Tap::replaying(&case.exchanges);
        let calls = CallLog::default();
        let ec2 = Ec2::new(&config(&tap), None, &calls);
        let read = ask(&ec2, &case.operation, &case.about).await;
        match stricter(&case) {
            None => assert_eq!(read, case.read, "{}", case.name),
            Some((begins, ends)) => {
                let message = read["unreachable"]["message"].as_str().unwrap_or_default();
                let is_told = message.starts_with(&begins) && message.ends_with(&ends);
                assert!(is_told, "{}: {read}", case.name);
                assert!(message.contains(", but it does not answer such a request"), "{message}");
            }
        }
        assert_eq!(tap.exchanges(), case.exchanges, "{}", case.name);
        // The log has every attempt, under the SDK's name of the service.
        let logged: Vec<_> = calls
            .calls()
            .into_iter()
            .map(|calls| (calls.service, calls.operation, calls.attempts))
            .collect();
        let attempts = case.exchanges.len() as u64;
        assert_eq!(logged, [("EC2".to_owned(), case.operation, attempts)], "{}", case.name);
    }
}

#[test]
fn each_region_has_the_endpoint_that_the_sdk_has_for_it() {
    for (region, fips, dual_stack, wanted) in recorded().endpoints {
        let settings = EndpointSettings::regional(&EC2, &region, fips, dual_stack);
        assert_eq!(settings.url().ok(), wanted, "{settings:?}");
    }
}

#[tokio::test]
async fn credentials_are_kept_until_they_are_about_to_expire() {
    let answer = "<GetEbsEncryptionByDefaultResponse><ebsEncryptionByDefault>true</ebsEncryptionByDefault></GetEbsEncryptionByDefaultResponse>";
    let tap = Tap::answering(&[(200, answer); 3]);
    let number = AtomicU64::new(0);
    // New credentials each time; the first ones expire at once.
    let expiring = provide_credentials_fn(move || {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let over = SystemTime::now() + Duration::from_secs(if number == 0 { 1 } else { 3600 });
        let key = format!("AKIA{number}");
        async move { Ok(Credentials::new(key, "secret", None, Some(over), "test")) }
    });
    let base = config(&tap)
        .into_builder()
        .credentials_provider(SharedCredentialsProvider::new(expiring))
        .build();
    let ec2 = Ec2::new(&base, None, &CallLog::default());
    for _ in 0..3 {
        assert_eq!(ec2.ebs_encryption_by_default().await.ok(), Some(Some(true)));
    }
    let key = |exchange: &Exchange| {
        let header = exchange.headers.iter().find(|it| it.starts_with("authorization")).unwrap();
        header.split(['=', '/']).nth(1).unwrap().to_owned()
    };
    let keys: Vec<String> = tap.exchanges().iter().map(key).collect();
    // The first credentials expire too soon to be cached.
    assert_eq!(keys, ["AKIA0", "AKIA1", "AKIA1"]);
}

/// A text in one of the forms in which an answer may hold it, and its value.
fn written(text: &str, style: u8) -> String {
    match style % 3 {
        0 => quick_xml::escape::escape(text).into_owned(),
        1 => format!("<![CDATA[{}]]>", text.replace("]]>", "]]]]><![CDATA[>")),
        _ => text.chars().fold(String::new(), |written, letter| {
            written + &format!("&#x{:x};", u32::from(letter))
        }),
    }
}

/// Elements that a later version of EC2 may add.
fn unknown() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("<!-- <volumeSet/> -->".to_owned()),
        Just("<new/>".to_owned()),
        Just(
            "<other><volumeSet><item><volumeId>no</volumeId></item></volumeSet></other>".to_owned()
        ),
        Just("\n  ".to_owned()),
    ]
}

fn text() -> impl Strategy<Value = String> {
    "[ -~é€😀]{1,20}".prop_filter("not blank alone", |text| !text.trim().is_empty())
}

prop_compose! {
    /// A volume, and one way to write it in XML.
    fn volume()(
        id in text(), encrypted in any::<bool>(), key in prop::option::of(text()),
        instance in text(), device in prop::option::of(text()),
        styles in prop::array::uniform4(any::<u8>()), extra in prop::array::uniform4(unknown()),
        seed in any::<u64>(),
    ) -> (Ec2Volume, String) {
        let tag = |name: &str, text: &str, style| format!("<{name}>{}</{name}>", written(text, style));
        let optional = |name: &str, text: &Option<String>, style| {
            text.as_ref().map_or(String::new(), |text| tag(name, text, style))
        };
        let mut random = fastrand::Rng::with_seed(seed);
        let mut attachment = [
            tag("instanceId", &instance, styles[0]), optional("device", &device, styles[1]),
            extra[0].clone(),
        ];
        random.shuffle(&mut attachment);
        let mut parts = [
            tag("volumeId", &id, styles[2]), format!("<encrypted>{encrypted}</encrypted>"),
            optional("kmsKeyId", &key, styles[3]), extra[1].clone(), extra[2].clone(),
            format!("<attachmentSet><item>{}</item></attachmentSet>", attachment.concat()),
        ];
        random.shuffle(&mut parts);
        let attachments = vec![Ec2Attachment { instance: Some(instance), device }];
        let volume = Ec2Volume { id: Some(id), encrypted: Some(encrypted), key, attachments };
        (volume, format!("<item>{}{}</item>", extra[3].replace("<new/>", "<new></new>"), parts.concat()))
    }
}

prop_compose! {
    /// An answer, and the volumes that it holds.
    fn answer()(
        volumes in prop::collection::vec(volume(), 0..5), extra in prop::array::uniform2(unknown()),
        is_short in any::<bool>(),
    ) -> (Vec<Ec2Volume>, String) {
        let (volumes, items): (Vec<_>, Vec<_>) = volumes.into_iter().unzip();
        let set = if items.is_empty() && is_short {
            "<volumeSet/>".to_owned()
        } else {
            format!("<volumeSet>{}</volumeSet>", items.concat())
        };
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DescribeVolumesResponse \
             xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">{}{set}{}</DescribeVolumesResponse>",
            extra[0], extra[1]
        );
        (volumes, text)
    }
}

fn read(answer: &[u8]) -> Result<Vec<Ec2Volume>, AnswerError> {
    Element::parse(answer).and_then(|root| answers::volume_page(&root)).map(|page| page.volumes)
}

proptest! {
    #[test]
    fn volumes_are_read_however_they_are_written((volumes, answer) in answer()) {
        prop_assert_eq!(read(answer.as_bytes()), Ok(volumes));
    }

    #[test]
    fn an_answer_that_is_cut_off_anywhere_is_an_error(
        (_, answer) in answer(), at in any::<prop::sample::Index>(),
    ) {
        prop_assert!(read(&answer.as_bytes()[..at.index(answer.len())]).is_err());
    }

    #[test]
    fn no_bytes_at_all_make_the_reader_panic(bytes in any::<Vec<u8>>()) {
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn what_must_stand_once_is_an_error_where_it_stands_twice((_, answer) in answer()) {
        let twice = answer.replacen("</DescribeVolumesResponse>", "<volumeSet/></DescribeVolumesResponse>", 1);
        prop_assert_eq!(read(twice.as_bytes()), Err(AnswerError::Repeated("volumeSet")));
    }
}

#[test]
fn an_empty_list_within_an_item_may_be_left_out_and_the_answers_own_list_may_not() {
    let volume = "<a><volumeSet><item><volumeId>vol-1</volumeId></item></volumeSet></a>";
    let volumes = read(volume.as_bytes()).unwrap();
    assert_eq!(volumes.len(), 1);
    assert_eq!(volumes[0].attachments, []);
    assert_eq!(read(b"<a/>"), Err(AnswerError::Missing("volumeSet")));

    let sets = |text: &str| answers::dhcp_options(&Element::parse(text.as_bytes()).unwrap());
    let of_one = |inner: &str| {
        let set = format!("<item><dhcpOptionsId>dopt-1</dhcpOptionsId>{inner}</item>");
        sets(&format!("<a><dhcpOptionsSet>{set}</dhcpOptionsSet></a>")).unwrap().remove(0).options
    };
    assert_eq!(of_one(""), []);
    let option = "<dhcpConfigurationSet><item><key>domain-name</key></item></dhcpConfigurationSet>";
    let without_values = Ec2DhcpOption { key: "domain-name".to_owned(), values: Vec::new() };
    assert_eq!(of_one(option), [without_values]);
    assert_eq!(sets("<a/>"), Err(AnswerError::Missing("dhcpOptionsSet")));
}
