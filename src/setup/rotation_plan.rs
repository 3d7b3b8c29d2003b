//! The plan of a rotation of certificates: a new archive beside the present one, and a security
//! configuration that names it.

use crate::{
    base::printable::printable,
    setup::{
        certificates::Rotation,
        piece::{CertificateArchive, Piece},
        plan::{SetupPlan, Step, StepAction},
    },
};

const SOURCE: &str = "Amazon EMR management guide, Providing certificates for encrypting data in \
    transit with Amazon EMR encryption";

/// The plan. `names` are those of the new certificate where the present one's are not known; `key`
/// is the KMS key of the present archive.
pub(crate) fn rotation_plan(
    rotation: Rotation,
    names: &[String],
    key: Option<String>,
    days: u16,
) -> SetupPlan {
    let Rotation { archive: object, configuration, names: present, days_left } = rotation;
    let left = match days_left {
        Some(days) if days < 0 => printable!("the present ones have expired"),
        Some(days) => printable!("the present ones are valid for {days} more days"),
        None => printable!("the present ones could not be read"),
    };
    let name = configuration.name.clone();
    let archive = CertificateArchive {
        object,
        names: if present.is_empty() { names.to_vec() } else { present },
        days,
        key,
    };
    let step = |piece, checks, notes| Step {
        piece,
        action: StepAction::Create,
        checks,
        source: SOURCE,
        cost: None,
        notes,
    };
    let stays = printable!(
        "clusters that run keep the present archive and the present security configuration; once \
         none uses them, `emr-etl-guard setup --retire` deletes the latter"
    );
    SetupPlan {
        steps: vec![
            step(Piece::Certificates(archive), vec!["certificate-validity"], vec![left]),
            step(
                Piece::SecurityConfiguration(configuration),
                vec!["certificate-validity"],
                vec![stays],
            ),
        ],
        security_configuration: Some(name),
        advice: Vec::new(),
    }
}
