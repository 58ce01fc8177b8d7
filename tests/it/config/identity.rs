//! Wrong configurations: Issuers, logins and directories.

use super::Row;

pub(super) const WRONG: &[Row] = &[
    (
        "kind = \"token\"",
        "kind = \"ldap\"",
        ["`directory", "\"ldap\"", "known here: token, file"],
    ),
    (
        "kind = \"token\"",
        "kind = \"file\"",
        ["`directory.path`", "is missing", "add it"],
    ),
    (
        "kind = \"token\"",
        "kind = \"file\"\npath = \"/no/people.toml\"",
        ["`directory.path`", "/no/people.toml", "[people."],
    ),
    (
        "issuer = \"https://login.example.com\"",
        "issuer = \"http://login.example.com\"",
        [
            "`issuers[0].issuer`",
            "\"http://login.example.com\"",
            "must be an https URL",
        ],
    ),
    (
        "audiences = [\"hallpass\"]",
        "audiences = []",
        ["`issuers[0].audiences`", "is []", "at least one"],
    ),
    (
        "[\"ES256\", \"RS256\"]",
        "[\"HS256\"]",
        ["`issuers[0].algorithms[0]`", "\"HS256\"", "`ES256`?"],
    ),
    (
        "max_lifetime_seconds = 3600",
        "max_lifetime_seconds = 5",
        ["`issuers[0].max_lifetime_seconds`", "is 5", "60 to 86,400"],
    ),
    (
        "kind = \"human\"",
        "kind = \"humans\"",
        ["`issuers[0].kind`", "\"humans\"", "did you mean `human`?"],
    ),
    (
        "kind = \"human\"",
        "",
        ["`issuers[0].kind`", "is not set", "exactly one of"],
    ),
    (
        "token_types =",
        "token_type =",
        [
            "hallpassd.toml line ",
            "`issuers[0].token_type`",
            "did you mean `token_types`?",
        ],
    ),
    (
        "[aws]",
        "[tokens]\njwks_ttl_seconds = 0\n[aws]",
        [
            "jwks_ttl_seconds",
            "at least 1",
            "at most jwks_max_stale_seconds",
        ],
    ),
    (
        "jwks_uri = \"https://login.example.com/jwks\"",
        "jwks_uri = \"http://login.example.com/jwks\"",
        [
            "`issuers[0].jwks_uri`",
            "\"http://login.example.com/jwks\"",
            "must be an https URL",
        ],
    ),
    (
        "audiences = [\"hallpass\"]",
        "audiences = [\" \"]",
        ["`issuers[0].audiences`", "[\" \"]", "none empty"],
    ),
    (
        "[\"ES256\", \"RS256\"]",
        "[]",
        ["`issuers[0].algorithms`", "is []", "at least one"],
    ),
    (
        "token_types = [\"at+jwt\"]",
        "token_types = []",
        ["`issuers[0].token_types`", "is []", "at least one"],
    ),
    (
        "clients = [\"hallpass-cli\"]",
        "clients = [\"\"]",
        ["`issuers[0].clients`", "[\"\"]", "no empty names"],
    ),
    (
        "issuer = \"https://login.example.com\"\njwks_uri",
        "issuer = \"https://accounts.google.com\"\njwks_uri",
        [
            "`issuers[0].required_claims`",
            "Google signs for everybody",
            "`hd`",
        ],
    ),
    (
        "kind = \"human\"",
        "kind = \"human\"\nkind_claim = \"kind\"",
        ["`issuers[0].kind`", "\"human\"", "exactly one of"],
    ),
    (
        "kind = \"human\"",
        "kind = \"agent\"",
        [
            "`issuers[0].acting_for_claim`",
            "is not set",
            "where agents are accepted",
        ],
    ),
    (
        "kind = \"human\"",
        "kind = \"human\"\nacting_for_issuer = \"https://other.example\"",
        [
            "`issuers[0].acting_for_issuer`",
            "https://other.example",
            "[[issuers]] tables",
        ],
    ),
    (
        "kind = \"human\"",
        "kind = \"human\"\npreset = \"auth0\"",
        ["`issuers[0].preset`", "\"auth0\"", "keycloak"],
    ),
    (
        "max_lifetime_seconds = 3600",
        "max_lifetime_seconds = \"1h\"",
        [
            "`issuers[0].max_lifetime_seconds`",
            "\"1h\"",
            "print-config",
        ],
    ),
    (
        "[login]\nissuer = \"https://login.example.com\"",
        "[login]\nissuer = \"https://other.example\"",
        [
            "`login.issuer`",
            "\"https://other.example\"",
            "[[issuers]] tables",
        ],
    ),
    (
        "client_id = \"hallpass-cli\"",
        "client_id = \"hallpass-web\"",
        [
            "`login.client_id`",
            "\"hallpass-web\"",
            "add it to `clients`",
        ],
    ),
    (
        "token = \"access\"",
        "token = \"id\"",
        ["`login.client_id`", "\"hallpass-cli\"", "`audiences`"],
    ),
    (
        "token = \"access\"",
        "token = \"bearer\"",
        ["`login.token`", "\"bearer\"", "access, id"],
    ),
    (
        "kind = \"token\"",
        "kind = \"scim\"\nbase_url = \"https://scim.example\"\ntoken = { env = \"T\" }\n\
         issuers = []",
        ["`directory.issuers`", "is empty", "name the issuers"],
    ),
    (
        "kind = \"token\"",
        "kind = \"scim\"\nbase_url = \"https://scim.example\"\ntoken = { env = \"T\" }\n\
         issuers = [\"https://other.example\"]",
        [
            "`directory.issuers`",
            "\"https://other.example\"",
            "[[issuers]] tables",
        ],
    ),
    (
        "kind = \"token\"",
        "kind = \"scim\"\nbase_url = \"https://scim.example\"\ntoken = { env = \"T\" }\n\
         issuers = [\"https://login.example.com\"]\nlookup = \"email\"",
        ["`directory", "\"email\"", "external_id, user_name, id"],
    ),
];
