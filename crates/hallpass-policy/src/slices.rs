//! The policies whose scope can match a question, found without a look at the others.
//!
//! Cedar's authorizer walks every policy that it is given. A policy whose scope does not match
//! neither decides nor errs, so leaving it out changes no answer.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    ActionConstraint, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet, PolicySetError,
    PrincipalConstraint, ResourceConstraint, Schema, Template,
};

/// Policies by action, and within one by the entity that their scope names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slices {
    actions: HashMap<EntityUid, Slice>,
    /// What linked policies are links of.
    templates: HashMap<PolicyId, Template>,
    known_actions: Vec<Entity>,
}

#[derive(Clone, Debug, Default)]
struct Slice {
    /// Those whose scope names no entity, or only a type.
    always: Vec<Policy>,
    /// Those that can match only where the principal or the resource is this entity or in it.
    keyed: HashMap<EntityUid, Vec<Policy>>,
}

impl Slices {
    pub(crate) fn new(schema: &Schema, policies: &PolicySet) -> Result<Self, String> {
        let known = schema.action_entities().map_err(|e| e.to_string())?;
        let templates = policies.templates().map(|t| (t.id().clone(), t.clone()));
        let mut slices = Self {
            templates: templates.collect(),
            known_actions: known.iter().cloned().collect(),
            ..Self::default()
        };
        for action in schema.actions() {
            let above: HashSet<&EntityUid> =
                known.ancestors(action).into_iter().flatten().collect();
            let covers = |named: &EntityUid| named == action || above.contains(named);
            let mut slice = Slice::default();
            for policy in policies.policies() {
                let applies = match policy.action_constraint() {
                    ActionConstraint::Any => true,
                    ActionConstraint::Eq(named) => named == *action,
                    ActionConstraint::In(named) => named.iter().any(covers),
                };
                if applies {
                    slice.add(policy);
                }
            }
            slices.actions.insert(action.clone(), slice);
        }
        Ok(slices)
    }

    /// Every action as an entity: a condition may name others than the one that is asked.
    pub(crate) fn known_actions(&self) -> &[Entity] {
        &self.known_actions
    }

    /// Every policy that can match; few others.
    pub(crate) fn of(
        &self,
        action: &EntityUid,
        principal: &EntityUid,
        resource: &EntityUid,
        entities: &Entities,
    ) -> PolicySet {
        let Some(slice) = self.actions.get(action) else {
            return PolicySet::new();
        };
        let above = [principal, resource].into_iter().flat_map(|uid| {
            std::iter::once(uid).chain(entities.ancestors(uid).into_iter().flatten())
        });
        let keys: HashSet<&EntityUid> = above.collect();
        let keyed = keys.into_iter().filter_map(|key| slice.keyed.get(key));
        let mut set = PolicySet::new();
        for policy in slice.always.iter().chain(keyed.flatten()) {
            // Ids are unique in the set that these come from, and each key is looked up once.
            let _ = self.put(&mut set, policy);
        }
        set
    }

    fn put(&self, set: &mut PolicySet, policy: &Policy) -> Result<(), Box<PolicySetError>> {
        let (Some(id), Some(values)) = (policy.template_id(), policy.template_links()) else {
            return set.add(policy.clone()).map_err(Box::new);
        };
        if set.template(id).is_none()
            && let Some(template) = self.templates.get(id)
        {
            set.add_template(template.clone()).map_err(Box::new)?;
        }
        set.link(id.clone(), policy.id().clone(), values)
            .map_err(Box::new)
    }
}

impl Slice {
    fn add(&mut self, policy: &Policy) {
        match key(policy) {
            Some(key) => self.keyed.entry(key).or_default().push(policy.clone()),
            None => self.always.push(policy.clone()),
        }
    }
}

/// The entity that the scope demands; the resource first, because fewer policies share one.
fn key(policy: &Policy) -> Option<EntityUid> {
    let resource = match policy.resource_constraint() {
        ResourceConstraint::Eq(uid)
        | ResourceConstraint::In(uid)
        | ResourceConstraint::IsIn(_, uid) => Some(uid),
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
    };
    resource.or_else(|| match policy.principal_constraint() {
        PrincipalConstraint::Eq(uid)
        | PrincipalConstraint::In(uid)
        | PrincipalConstraint::IsIn(_, uid) => Some(uid),
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    fn uid(text: &str) -> EntityUid {
        EntityUid::from_str(text).unwrap()
    }

    /// Rows for groups and entitlements, beside a guard rail without either.
    fn rows(n: usize) -> Slices {
        let row = |i: usize| {
            format!(
                "permit (principal in Hallpass::Group::\"g{}\", \
                 action == Hallpass::Action::\"request\", \
                 resource == Hallpass::Entitlement::\"e{i}\");\n",
                i % 7
            )
        };
        let rail = "forbid (principal, action, resource) when { principal.kind == \"agent\" };";
        let text = (0..n).map(row).collect::<String>() + rail;
        let (schema, _) = Schema::from_cedarschema_str(crate::SCHEMA).unwrap();
        Slices::new(&schema, &PolicySet::from_str(&text).unwrap()).unwrap()
    }

    #[test]
    fn a_question_meets_as_few_policies_among_many_as_among_few() {
        for n in [10, 1000] {
            let slice = rows(n).of(
                &uid("Hallpass::Action::\"request\""),
                &uid("Hallpass::User::\"somebody\""),
                &uid("Hallpass::Entitlement::\"e3\""),
                &Entities::empty(),
            );
            assert_eq!(slice.policies().count(), 2, "{n}");
        }
    }
}
