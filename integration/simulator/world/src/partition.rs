//! Owns AWS' partitions.

/// The partition of a region: `aws`, `aws-cn`, `aws-us-gov`, `aws-eusc`.
#[must_use]
pub fn partition_of(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else if region.starts_with("eusc-") {
        "aws-eusc"
    } else {
        "aws"
    }
}

/// The partition of an ARN; none: it is no ARN.
#[must_use]
pub fn partition_of_arn(arn: &str) -> Option<&str> {
    arn.strip_prefix("arn:")?.split(':').next().filter(|it| !it.is_empty())
}

/// The suffix of private DNS names, and the `domain-name` of default DHCP options.
#[must_use]
pub fn internal_domain(region: &str) -> String {
    match region {
        "us-east-1" => "ec2.internal".to_owned(),
        region => format!("{region}.compute.internal"),
    }
}

/// Whether this names a region.
#[must_use]
pub fn is_region(name: &str) -> bool {
    const AREAS: [&str; 10] = ["af", "ap", "ca", "cn", "eu", "il", "me", "mx", "sa", "us"];
    const DIRECTIONS: [&str; 9] = [
        "central",
        "east",
        "north",
        "northeast",
        "northwest",
        "south",
        "southeast",
        "southwest",
        "west",
    ];
    let words: Vec<&str> = name.split('-').collect();
    let (area, rest) = match words.as_slice() {
        ["us", "gov", rest @ ..] => ("us", rest),
        ["eusc", "de", rest @ ..] => ("eu", rest),
        [area, rest @ ..] => (*area, rest),
        [] => return false,
    };
    let [direction, number] = rest else { return false };
    AREAS.contains(&area)
        && DIRECTIONS.contains(direction)
        && number.len() == 1
        && number.chars().all(|it| it.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{is_region, partition_of, partition_of_arn};

    #[test]
    fn a_region_gives_its_partition() {
        let regions =
            ["eu-west-1", "cn-northwest-1", "us-gov-west-1", "us-east-1", "eusc-de-east-1"];
        let partitions = ["aws", "aws-cn", "aws-us-gov", "aws", "aws-eusc"];
        assert_eq!(regions.map(partition_of), partitions);
        assert!(regions.into_iter().all(is_region));
        assert!(!["EU", "foo", "us-east", "us-gov-1", "eu-west-12", ""].into_iter().any(is_region));
        assert_eq!(partition_of_arn("arn:aws-cn:iam::1:role/r"), Some("aws-cn"));
        assert_eq!(partition_of_arn("role/r"), None);
    }
}
