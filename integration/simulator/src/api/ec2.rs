//! Owns EC2's operations.

use std::collections::BTreeMap;

use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use crate::xml::Xml;
use emr_world::clock::iso;
use emr_world::cluster::{Cluster, ClusterState, Instance, Volume};
use emr_world::regions::regions_beside;
use emr_world::world::{Caller, World};

pub(super) fn answer(world: &World, call: &Call, caller: &Caller) -> Answer {
    let ec2 = Ec2 { world, call, account: &caller.account };
    let operation = &call.subject.operation;
    let mut outcome = Ok(());
    let mut document = Xml::new();
    document.root(
        &format!("{operation}Response"),
        "http://ec2.amazonaws.com/doc/2016-11-15/",
        |xml| {
            xml.text("requestId", "00000000-0000-4000-8000-000000000000");
            outcome = match operation.as_str() {
                "DescribeSubnets" => ec2.subnets(xml),
                "DescribeVpcs" => ec2.vpcs(xml),
                "DescribeVpcAttribute" => ec2.vpc_attribute(xml),
                "GetEbsEncryptionByDefault" => {
                    xml.text("ebsEncryptionByDefault", world.ebs_encryption_by_default.to_string())
                        .text("sseType", "sse-ebs");
                    Ok(())
                }
                "DescribeDhcpOptions" => ec2.dhcp_options(xml),
                "DescribeRegions" => ec2.regions(xml),
                "DescribeInstances" => ec2.instances(xml),
                "DescribeVolumes" => ec2.volumes(xml),
                other => Err(Failure::not_modelled(Service::Ec2, other)),
            };
        },
    );
    outcome?;
    Ok(Reply::xml(document))
}

/// Volumes on one page, whether or not the request has a page size: any response may be one of
/// several.
const VOLUMES: usize = 300;

struct Ec2<'a> {
    world: &'a World,
    call: &'a Call,
    account: &'a str,
}

type Facts = BTreeMap<&'static str, String>;

impl<'a> Ec2<'a> {
    fn here(&self, account: &str, region: &str) -> bool {
        account == self.account && region == self.call.region
    }

    /// The request's filters: name and accepted values.
    fn filters(&self) -> Vec<(String, Vec<String>)> {
        (1..)
            .map_while(|number| {
                let name = self.call.form.get(&format!("Filter.{number}.Name"))?.clone();
                Some((name, self.call.list(&format!("Filter.{number}.Value"))))
            })
            .collect()
    }

    /// Returns the items with a requested id (each of which must exist) that pass all filters.
    fn select<T>(
        &self,
        all: impl Iterator<Item = T>,
        id_parameter: &str,
        id_fact: &str,
        missing: (&str, &str),
        facts: impl Fn(&T) -> Facts,
    ) -> Result<Vec<T>, Failure> {
        let wanted = self.call.list(id_parameter);
        let filters = self.filters();
        if filters.iter().any(|(_, values)| values.len() > 200) {
            return Err(Failure::new(
                400,
                "FilterLimitExceeded",
                "The maximum number of filter values specified on a single call is 200",
            ));
        }
        let all: Vec<(Facts, T)> = all.map(|it| (facts(&it), it)).collect();
        for id in &wanted {
            if !all.iter().any(|(facts, _)| facts.get(id_fact) == Some(id)) {
                let (code, what) = missing;
                return Err(Failure::new(400, code, format!("The {what} '{id}' does not exist")));
            }
        }
        let mut selected = Vec::new();
        for (facts, it) in all {
            if !wanted.is_empty() && !facts.get(id_fact).is_some_and(|id| wanted.contains(id)) {
                continue;
            }
            let mut passes = true;
            for (name, values) in &filters {
                let Some(fact) = facts.get(name.as_str()) else {
                    return Err(Failure::new(
                        400,
                        "InvalidParameterValue",
                        format!("The filter '{name}' is invalid"),
                    ));
                };
                // Several values of one name are joined with a character that no value contains.
                passes &= fact
                    .split('\u{0}')
                    .any(|fact| values.iter().any(|it| emr_world::policy::wildcard(it, fact)));
            }
            if passes {
                selected.push(it);
            }
        }
        Ok(selected)
    }

    /// The regions of the caller's partition; those that the account has not switched on only where
    /// the request asks for all.
    fn regions(&self, xml: &mut Xml) -> Result<(), Failure> {
        let wants_all = self.call.form.get("AllRegions").is_some_and(|it| it == "true");
        let all = regions_beside(&self.call.region)
            .into_iter()
            .map(|name| (name, self.world.opt_in_status(self.account, name)))
            .filter(|(_, status)| wants_all || status.is_enabled());
        let endpoint = |name: &str| {
            let domain = if name.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            format!("ec2.{name}.{domain}")
        };
        let missing = ("InvalidParameterValue", "region");
        let found = self.select(all, "RegionName", "region-name", missing, |(name, status)| {
            Facts::from([
                ("region-name", (*name).to_owned()),
                ("endpoint", endpoint(name)),
                ("opt-in-status", status.name().to_owned()),
            ])
        })?;
        xml.element("regionInfo", |xml| {
            for (name, status) in found {
                xml.element("item", |xml| {
                    xml.text("regionName", name)
                        .text("regionEndpoint", endpoint(name))
                        .text("optInStatus", status.name());
                });
            }
        });
        Ok(())
    }

    fn subnets(&self, xml: &mut Xml) -> Result<(), Failure> {
        let mine = self.world.subnets.iter().filter(|it| self.here(&it.account, &it.region));
        let missing = ("InvalidSubnetID.NotFound", "subnet ID");
        let found = self.select(mine, "SubnetId", "subnet-id", missing, |it| {
            Facts::from([
                ("subnet-id", it.id.clone()),
                ("vpc-id", it.vpc.clone()),
                ("state", "available".to_owned()),
            ])
        })?;
        xml.element("subnetSet", |xml| {
            for subnet in found {
                xml.element("item", |xml| {
                    xml.text("subnetId", &subnet.id)
                        .text(
                            "subnetArn",
                            format!(
                                "arn:aws:ec2:{}:{}:subnet/{}",
                                subnet.region, subnet.account, subnet.id
                            ),
                        )
                        .text("state", "available")
                        .text("ownerId", &subnet.account)
                        .text("vpcId", &subnet.vpc)
                        .text("cidrBlock", "172.31.0.0/20")
                        .text("availableIpAddressCount", "4091")
                        .text("availabilityZone", format!("{}{}", subnet.region, subnet.zone))
                        .text("defaultForAz", "false")
                        .text("mapPublicIpOnLaunch", "false");
                });
            }
        });
        Ok(())
    }

    fn vpcs(&self, xml: &mut Xml) -> Result<(), Failure> {
        let mine = self.world.vpcs.iter().filter(|it| self.here(&it.account, &it.region));
        let missing = ("InvalidVpcID.NotFound", "vpc ID");
        let found = self.select(mine, "VpcId", "vpc-id", missing, |it| {
            Facts::from([("vpc-id", it.id.clone()), ("dhcp-options-id", it.dhcp_options.clone())])
        })?;
        xml.element("vpcSet", |xml| {
            for vpc in found {
                xml.element("item", |xml| {
                    xml.text("vpcId", &vpc.id)
                        .text("ownerId", &vpc.account)
                        .text("state", "available")
                        .text("cidrBlock", &vpc.cidr)
                        .text("dhcpOptionsId", &vpc.dhcp_options)
                        .text("instanceTenancy", "default")
                        .text("isDefault", "false");
                });
            }
        });
        Ok(())
    }

    fn vpc_attribute(&self, xml: &mut Xml) -> Result<(), Failure> {
        let parameter =
            |name: &str| self.call.form.get(name).map(String::as_str).unwrap_or_default();
        let id = parameter("VpcId");
        let vpc = self
            .world
            .vpcs
            .iter()
            .find(|it| it.id == id && self.here(&it.account, &it.region))
            .ok_or_else(|| {
                Failure::new(
                    400,
                    "InvalidVpcID.NotFound",
                    format!("The vpc ID '{id}' does not exist"),
                )
            })?;
        let attribute = parameter("Attribute");
        let value = match attribute {
            "enableDnsSupport" => vpc.dns_support,
            "enableDnsHostnames" => vpc.dns_hostnames,
            "enableNetworkAddressUsageMetrics" => false,
            other => {
                let message = format!("Value ({other}) for parameter attribute is invalid.");
                return Err(Failure::new(400, "InvalidParameterValue", message));
            }
        };
        xml.text("vpcId", id).element(attribute, |xml| {
            xml.text("value", value.to_string());
        });
        Ok(())
    }

    fn dhcp_options(&self, xml: &mut Xml) -> Result<(), Failure> {
        let mine = self.world.dhcp_options.iter().filter(|it| self.here(&it.account, &it.region));
        let missing = ("InvalidDhcpOptionID.NotFound", "dhcpOption ID");
        let found = self.select(mine, "DhcpOptionsId", "dhcp-options-id", missing, |it| {
            Facts::from([("dhcp-options-id", it.id.clone())])
        })?;
        xml.element("dhcpOptionsSet", |xml| {
            for set in found {
                xml.element("item", |xml| {
                    xml.text("dhcpOptionsId", &set.id).text("ownerId", &set.account);
                    xml.element("dhcpConfigurationSet", |xml| {
                        for (key, values) in &set.options {
                            xml.element("item", |xml| {
                                xml.text("key", key).element("valueSet", |xml| {
                                    for value in values {
                                        xml.element("item", |xml| {
                                            xml.text("value", value);
                                        });
                                    }
                                });
                            });
                        }
                    });
                });
            }
        });
        Ok(())
    }

    fn clusters(&self) -> impl Iterator<Item = &'a Cluster> {
        let (account, region) = (self.account, &self.call.region);
        self.world.clusters.iter().filter(move |it| it.account == account && it.region == *region)
    }

    fn instances(&self, xml: &mut Xml) -> Result<(), Failure> {
        let mine = self
            .clusters()
            .flat_map(|cluster| cluster.instances.iter().map(move |it| (cluster, it)));
        let missing = ("InvalidInstanceID.NotFound", "instance ID");
        let found = self.select(mine, "InstanceId", "instance-id", missing, |(cluster, it)| {
            Facts::from([
                ("instance-id", it.ec2_id.clone()),
                ("instance-state-name", instance_state(cluster).to_owned()),
                ("tag:aws:elasticmapreduce:job-flow-id", cluster.id.clone()),
                ("tag:aws:elasticmapreduce:instance-group-role", it.role.clone()),
            ])
        })?;
        xml.element("reservationSet", |xml| {
            for (cluster, instance) in found {
                xml.element("item", |xml| {
                    xml.text("reservationId", instance.ec2_id.replacen("i-", "r-", 1))
                        .text("ownerId", &cluster.account);
                    xml.element("instancesSet", |xml| {
                        xml.element("item", |xml| write_instance(xml, cluster, instance));
                    });
                });
            }
        });
        Ok(())
    }

    fn volumes(&self, xml: &mut Xml) -> Result<(), Failure> {
        // The volumes of a cluster that is over are deleted with their instances.
        let mine = self.clusters().filter(|it| !it.state.is_over()).flat_map(|cluster| {
            cluster.instances.iter().flat_map(move |instance| {
                instance.volumes.iter().map(move |volume| (cluster, instance, volume))
            })
        });
        let missing = ("InvalidVolume.NotFound", "volume");
        let found =
            self.select(mine, "VolumeId", "volume-id", missing, |(_, instance, volume)| {
                Facts::from([
                    ("volume-id", volume.id.clone()),
                    ("attachment.instance-id", instance.ec2_id.clone()),
                    ("attachment.device", volume.device.clone()),
                    ("encrypted", volume.encrypted.to_string()),
                ])
            })?;
        let start = match self.call.form.get("NextToken") {
            None => 0,
            Some(token) => token.parse().map_err(|_| {
                Failure::new(400, "InvalidParameterValue", "Unable to parse pagination token")
            })?,
        };
        let page = found.iter().skip(start).take(VOLUMES);
        xml.element("volumeSet", |xml| {
            for (cluster, instance, volume) in page {
                xml.element("item", |xml| write_volume(xml, cluster, instance, volume));
            }
        });
        let next = start + VOLUMES;
        xml.optional("nextToken", (next < found.len()).then(|| next.to_string()).as_deref());
        Ok(())
    }
}

fn instance_state(cluster: &Cluster) -> &'static str {
    match cluster.state {
        ClusterState::Terminated | ClusterState::TerminatedWithErrors => "terminated",
        ClusterState::Terminating => "shutting-down",
        _ => "running",
    }
}

fn write_instance(xml: &mut Xml, cluster: &Cluster, instance: &Instance) {
    let state = instance_state(cluster);
    let code = match state {
        "terminated" => "48",
        "shutting-down" => "32",
        _ => "16",
    };
    xml.text("instanceId", &instance.ec2_id);
    xml.element("instanceState", |xml| {
        xml.text("code", code).text("name", state);
    });
    xml.text("instanceType", &instance.kind)
        .text("launchTime", iso(cluster.created))
        .optional("subnetId", cluster.requested("/Instances/Ec2SubnetId"));
    xml.text("rootDeviceType", "ebs").text("rootDeviceName", "/dev/xvda");
    xml.element("blockDeviceMapping", |xml| {
        let volumes = if state == "terminated" { &[] } else { instance.volumes.as_slice() };
        for volume in volumes {
            xml.element("item", |xml| {
                xml.text("deviceName", &volume.device);
                xml.element("ebs", |xml| {
                    xml.text("volumeId", &volume.id)
                        .text("status", "attached")
                        .text("attachTime", iso(cluster.created))
                        .text("deleteOnTermination", "true");
                });
            });
        }
    });
    xml.element("tagSet", |xml| {
        let own = [
            ("aws:elasticmapreduce:job-flow-id", cluster.id.as_str()),
            ("aws:elasticmapreduce:instance-group-role", instance.role.as_str()),
        ];
        let asked = cluster.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        for (key, value) in own.into_iter().chain(asked) {
            xml.element("item", |xml| {
                xml.text("key", key).text("value", value);
            });
        }
    });
}

fn write_volume(xml: &mut Xml, cluster: &Cluster, instance: &Instance, volume: &Volume) {
    xml.text("volumeId", &volume.id)
        .text("size", volume.size.to_string())
        .text("snapshotId", "")
        .text("availabilityZone", format!("{}a", cluster.region))
        .text("status", "in-use")
        .text("createTime", iso(cluster.created))
        .text("volumeType", &volume.kind)
        // Those of gp2: three a gibibyte, and a hundred at least.
        .text("iops", (volume.size * 3).max(100).to_string())
        .text("encrypted", volume.encrypted.to_string())
        .optional("kmsKeyId", volume.key.as_deref())
        .text("multiAttachEnabled", "false");
    xml.element("attachmentSet", |xml| {
        xml.element("item", |xml| {
            xml.text("volumeId", &volume.id)
                .text("instanceId", &instance.ec2_id)
                .text("device", &volume.device)
                .text("status", "attached")
                .text("attachTime", iso(cluster.created))
                .text("deleteOnTermination", "true");
        });
    });
}
