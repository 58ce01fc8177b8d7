//! What bundles are refused, what the sample pack answers, and what holds for every bundle.

#[cfg(test)]
mod catalogue;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod links;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod sample_pack;
#[cfg(test)]
mod slices;
#[cfg(test)]
mod support;
