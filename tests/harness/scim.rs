//! A SCIM 2.0 service on loopback as RFC 7644 describes it: the peer of the directory adapter, with
//! users, groups, filters, pages and errors.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::Private;
use crate::private::SCIM_TOKEN_VARIABLE;

/// What a service must show.
pub const SCIM_TOKEN: &str = "scim-service-token";

/// Small, so that clients have to turn pages.
const MOST_RESULTS: usize = 2;

/// A running service.
#[derive(Clone)]
pub struct ScimService {
    address: String,
    state: Arc<Mutex<Store>>,
}

#[derive(Default)]
struct Store {
    /// By external id.
    users: BTreeMap<String, User>,
    is_down: bool,
    lists_groups_with_users: bool,
}

#[derive(Clone)]
struct User {
    active: bool,
    groups: Vec<String>,
}

impl ScimService {
    /// Starts it, empty.
    ///
    /// # Panics
    /// When loopback has no port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let service = Self {
            address: format!("http://{address}/scim/v2"),
            state: Arc::default(),
        };
        let router = Router::new()
            .route("/scim/v2/{kind}", get(list))
            .with_state(service.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        service
    }

    /// Its root.
    pub fn base_url(&self) -> &str {
        &self.address
    }

    /// Makes or changes a user.
    pub fn put(&self, external_id: &str, active: bool, groups: &[&str]) {
        let user = User {
            active,
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
        };
        self.with(|store| store.users.insert(external_id.to_owned(), user));
    }

    /// Deletes a user.
    pub fn delete(&self, external_id: &str) {
        self.with(|store| store.users.remove(external_id));
    }

    /// Whether it answers 503 to everything.
    pub fn is_down(&self, is_down: bool) {
        self.with(|store| store.is_down = is_down);
    }

    /// Whether users come with their groups; otherwise only groups come with their members.
    pub fn lists_groups_with_users(&self, lists: bool) {
        self.with(|store| store.lists_groups_with_users = lists);
    }

    fn with<T>(&self, act: impl FnOnce(&mut Store) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An error (section 3.12).
fn failure(status: StatusCode, scim_type: &str) -> Response {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": status.as_u16().to_string(),
        "scimType": scim_type,
    });
    (status, Json(body)).into_response()
}

async fn list(
    State(service): State<ScimService>,
    Path(kind): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let query = url::form_urlencoded::parse(query.as_bytes());
    let query: BTreeMap<_, _> = query.into_owned().collect();
    let authorization = headers.get(header::AUTHORIZATION);
    let expected = format!("Bearer {SCIM_TOKEN}");
    if authorization.and_then(|a| a.to_str().ok()) != Some(&expected) {
        return failure(StatusCode::UNAUTHORIZED, "");
    }
    if service.with(|store| store.is_down) {
        return failure(StatusCode::SERVICE_UNAVAILABLE, "");
    }
    let all = match kind.as_str() {
        "Users" => service.with(|store| store.users()),
        "Groups" => service.with(|store| store.groups()),
        _ => return failure(StatusCode::NOT_FOUND, ""),
    };
    let Some((attribute, value)) = query.get("filter").and_then(|f| comparison(f)) else {
        return failure(StatusCode::BAD_REQUEST, "invalidFilter");
    };
    let found: Vec<_> = all
        .into_iter()
        .filter(|r| has(r, attribute, &value))
        .collect();
    let start = query
        .get("startIndex")
        .and_then(|s| s.parse::<usize>().ok());
    let start = start.unwrap_or(1).max(1);
    let page: Vec<_> = found.iter().skip(start - 1).take(MOST_RESULTS).collect();
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": found.len(),
        "startIndex": start,
        "itemsPerPage": page.len(),
        "Resources": page,
    });
    let kind = [(header::CONTENT_TYPE, "application/scim+json")];
    (kind, body.to_string()).into_response()
}

/// `attribute eq "value"` (section 3.4.2.2).
fn comparison(filter: &str) -> Option<(&str, String)> {
    let (attribute, value) = filter.split_once(" eq ")?;
    Some((attribute, serde_json::from_str(value).ok()?))
}

fn has(resource: &Value, attribute: &str, value: &str) -> bool {
    match attribute.split_once('.') {
        None => resource[attribute] == value,
        Some((list, member)) => {
            let all = resource[list].as_array();
            all.is_some_and(|all| all.iter().any(|one| one[member] == value))
        }
    }
}

impl Store {
    fn users(&self) -> Vec<Value> {
        let user = |(external_id, user): (&String, &User)| {
            let mut resource = json!({
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
                "id": id_of(external_id),
                "externalId": external_id,
                "userName": format!("{external_id}@example.test"),
                "active": user.active,
            });
            if self.lists_groups_with_users {
                let groups = user.groups.iter();
                let groups = groups.map(|g| json!({"value": format!("g-{g}"), "display": g}));
                resource["groups"] = groups.collect();
            }
            resource
        };
        self.users.iter().map(user).collect()
    }

    fn groups(&self) -> Vec<Value> {
        let mut members: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (external_id, user) in &self.users {
            for group in &user.groups {
                let member = json!({"value": id_of(external_id), "type": "User"});
                members.entry(group).or_default().push(member);
            }
        }
        let group = |(name, members): (&str, Vec<Value>)| {
            json!({
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
                "id": format!("g-{name}"),
                "displayName": name,
                "members": members,
            })
        };
        members.into_iter().map(group).collect()
    }
}

/// Ids are the service's own, and not the external ones.
fn id_of(external_id: &str) -> String {
    format!("2819c223-{external_id}")
}

impl Private {
    /// Has the services that are started from now on look people up in `scim`.
    ///
    /// # Panics
    /// When the configuration is none any more.
    pub fn look_people_up_in(&self, scim: &ScimService) {
        let issuer = self.issuer.issuer().to_owned();
        self.configure(|config| {
            let mut directory = toml::toml! { kind = "scim" };
            directory.insert("base_url".to_owned(), scim.base_url().into());
            directory.insert("issuers".to_owned(), vec![issuer].into());
            let mut token = toml::Table::new();
            token.insert("env".to_owned(), SCIM_TOKEN_VARIABLE.into());
            directory.insert("token".to_owned(), token.into());
            config.insert("directory".to_owned(), directory.into());
        });
    }
}
