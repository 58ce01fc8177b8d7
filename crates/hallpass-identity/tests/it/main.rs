//! The verifier as its callers see it, against issuers that behave and issuers that do not.

#[cfg(test)]
mod algorithms;
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod dev_issuer;
#[cfg(test)]
mod endpoint;
#[cfg(test)]
mod introspection;
#[cfg(test)]
mod issuers;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod principals;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod support;
#[cfg(test)]
mod userinfo;
