//! From where the sessions of a grant may be used, in the terms of AWS's condition keys.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::{ParseIdError, string_id};

string_id!(
    /// A range of addresses as `aws:SourceIp` takes it: `203.0.113.0/24`, `2001:db8::/32`.
    AddressRange
);

impl AddressRange {
    /// Reads a range.
    ///
    /// # Errors
    /// [`ParseIdError`] when it is none, is not written as the first address of the range, or
    /// holds every address, which would be no condition.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let expected =
            "a range of addresses such as 203.0.113.0/24, with no bit set beyond its length";
        match parts(text) {
            Some((address, length)) if length > 0 && masked(address, length) == bits(address) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(ParseIdError::new(text, expected)),
        }
    }

    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        parts(&self.0).is_some_and(|(first, length)| {
            first.is_ipv4() == address.is_ipv4() && masked(address, length) == bits(first)
        })
    }

    /// Whether no call over the internet comes from it: private, loopback and link-local ranges.
    pub fn is_private(&self) -> bool {
        parts(&self.0).is_some_and(|(first, _)| match first {
            IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
            IpAddr::V6(ip) => {
                ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
            }
        })
    }
}

/// The address and the length of its prefix.
fn parts(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let plain = length.bytes().all(|b| b.is_ascii_digit()) && !length.starts_with('0');
    let length: u32 = length.parse().ok()?;
    (plain && length <= width(address)).then_some((address, length))
}

fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

/// The address with all bits after the prefix cleared.
fn masked(address: IpAddr, length: u32) -> u128 {
    let rest = width(address).saturating_sub(length);
    let cleared = bits(address).checked_shr(rest).unwrap_or(0);
    cleared.checked_shl(rest).unwrap_or(0)
}

string_id!(
    /// The id of an AWS organization, `o-` and 10 to 32 characters.
    OrganizationId
);

impl OrganizationId {
    /// Reads an organization's id.
    ///
    /// # Errors
    /// [`ParseIdError`] when it is not one.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ok = text
            .strip_prefix("o-")
            .is_some_and(|rest| (10..=32).contains(&rest.len()) && rest.bytes().all(plain));
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            let expected = "an organization's id (o- and 10 to 32 of a-z and 0-9)";
            Err(ParseIdError::new(text, expected))
        }
    }
}

string_id!(
    /// The id of a VPC endpoint, `vpce-` and 8 or 17 hexadecimal digits.
    VpcEndpointId
);

impl VpcEndpointId {
    /// Reads a VPC endpoint's id.
    ///
    /// # Errors
    /// [`ParseIdError`] when it is not one.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let plain = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let ok = text
            .strip_prefix("vpce-")
            .is_some_and(|rest| [8, 17].contains(&rest.len()) && rest.bytes().all(plain));
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            let expected = "a VPC endpoint's id (vpce- and 8 or 17 hexadecimal digits)";
            Err(ParseIdError::new(text, expected))
        }
    }
}

/// What must hold of every call that a session of the grant makes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustConditions {
    /// Public addresses that calls come from (`aws:SourceIp`).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub source_ips: BTreeSet<AddressRange>,
    /// VPC endpoints that calls come through instead (`aws:SourceVpce`).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub source_vpces: BTreeSet<VpcEndpointId>,
    /// The organization that the role's account, and whoever assumes a created role, is in
    /// (`aws:PrincipalOrgID`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_id: Option<OrganizationId>,
}

impl TrustConditions {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.org_id.is_none() && !self.bind_network()
    }

    /// Whether calls must come from somewhere.
    pub fn bind_network(&self) -> bool {
        !(self.source_ips.is_empty() && self.source_vpces.is_empty())
    }
}

impl fmt::Display for TrustConditions {
    /// In words: `from 203.0.113.0/24 or vpce-…, in o-…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.source_ips.iter().map(AddressRange::as_str);
        let endpoints = self.source_vpces.iter().map(VpcEndpointId::as_str);
        let places: Vec<_> = ranges.chain(endpoints).collect();
        if !places.is_empty() {
            write!(f, "from {}", places.join(" or "))?;
        }
        match &self.org_id {
            Some(org) if places.is_empty() => write!(f, "in {org}"),
            Some(org) => write!(f, ", in {org}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> AddressRange {
        AddressRange::parse(text).unwrap()
    }

    #[test]
    fn ranges_are_written_as_their_first_address_and_hold_not_everything() {
        for good in [
            "203.0.113.0/24",
            "198.51.100.7/32",
            "2001:db8::/32",
            "::1/128",
            "128.0.0.0/1",
        ] {
            assert_eq!(range(good).as_str(), good);
        }
        for bad in [
            "",
            "203.0.113.0",
            "203.0.113.1/24",
            "203.0.113.0/33",
            "0.0.0.0/0",
            "::/0",
            "2001:db8::1/32",
            "203.0.113.0/024",
            "203.0.113.0/+24",
            "203.0.113.0/24 ",
            "203.0.113.0/24/1",
            "203.0.113/24",
            "2001:db8::/129",
            "*",
            "${aws:SourceIp}/32",
        ] {
            assert!(AddressRange::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_range_holds_its_addresses_and_no_other() {
        let holds = |r: &str, a: &str| range(r).contains(a.parse().unwrap());
        assert!(holds("203.0.113.0/24", "203.0.113.255") && holds("2001:db8::/32", "2001:db8:1::"));
        assert!(!holds("203.0.113.0/24", "203.0.114.0") && !holds("::/1", "1.2.3.4"));
        assert!(!holds("0.0.0.0/1", "::1"));
        for private in [
            "10.0.0.0/8",
            "127.0.0.0/8",
            "192.168.1.0/24",
            "fd00::/8",
            "169.254.0.0/16",
        ] {
            assert!(range(private).is_private(), "{private}");
        }
        assert!(!range("203.0.113.0/24").is_private());
    }

    #[test]
    fn ids_of_organizations_and_endpoints_have_their_form() {
        for good in ["o-a1b2c3d4e5", "o-0123456789abcdefghijklmnopqrstuv"] {
            assert_eq!(OrganizationId::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "o-short",
            "O-A1B2C3D4E5",
            "r-a1b2c3d4e5",
            "o-a1b2c3d4e*",
            "o-",
        ] {
            assert!(OrganizationId::parse(bad).is_err(), "{bad}");
        }
        for good in ["vpce-1a2b3c4d", "vpce-0123456789abcdef0"] {
            assert_eq!(VpcEndpointId::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "vpce-",
            "vpce-*",
            "vpc-1a2b3c4d",
            "vpce-1A2B3C4D",
            "vpce-1a2b3c4",
        ] {
            assert!(VpcEndpointId::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_is_parsed_holds_its_first_address(text in "[0-9a-f:.]{0,20}/?[0-9]{0,3}") {
            if let Ok(range) = AddressRange::parse(&text) {
                let first = text.split('/').next().unwrap().parse().unwrap();
                prop_assert!(range.contains(first));
                prop_assert_eq!(range.to_string(), text);
            }
        }
    }

    #[test]
    fn conditions_are_told_in_words() {
        let both = TrustConditions {
            source_ips: [range("203.0.113.0/24")].into(),
            source_vpces: [VpcEndpointId::parse("vpce-1a2b3c4d").unwrap()].into(),
            org_id: Some(OrganizationId::parse("o-a1b2c3d4e5").unwrap()),
        };
        assert_eq!(
            both.to_string(),
            "from 203.0.113.0/24 or vpce-1a2b3c4d, in o-a1b2c3d4e5"
        );
        let nothing = TrustConditions::default();
        assert!(nothing.is_empty() && !both.is_empty() && both.bind_network());
        assert_eq!(serde_json::to_string(&nothing).unwrap(), "{}");
    }
}
