//! Wrong configurations: Addresses, TLS, Temporal, keys and policies.

use super::Row;

pub(super) const WRONG: &[Row] = &[
    (
        "deployment =",
        "depolyment =",
        [
            "line 4",
            "unknown key `depolyment`",
            "did you mean `deployment`?",
        ],
    ),
    (
        "deployment = \"prod\"",
        "",
        ["key `deployment`", "is missing", "add it"],
    ),
    (
        "deployment = \"prod\"",
        "deployment = \" \"",
        ["`deployment`", "is empty", "name this deployment"],
    ),
    (
        "deployment = \"prod\"",
        "deployment = prod",
        ["line 4", "", "TOML"],
    ),
    (
        "\"127.0.0.1:8443\"",
        "\"localhost\"",
        ["`listen.address`", "\"localhost\"", "ADDRESS:PORT"],
    ),
    (
        "reflection = false",
        "reflection = \"no\"",
        ["`listen.reflection`", "\"no\"", "print-config"],
    ),
    (
        "reflection = false",
        "certificate = true",
        [
            "line",
            "`listen.certificate`",
            "known here: address, reflection, tls",
        ],
    ),
    (
        "\"http://127.0.0.1:7233\"",
        "\"127.0.0.1:7233\"",
        [
            "`temporal.address`",
            "127.0.0.1:7233",
            "write http://HOST:7233",
        ],
    ),
    (
        "\"http://127.0.0.1:7233\"",
        "\"grpc://host:7233\"",
        [
            "`temporal.address`",
            "grpc://host:7233",
            "write http://HOST:7233",
        ],
    ),
    (
        "address = \"http://127.0.0.1:7233\"\n",
        "",
        ["key `temporal.address`", "is missing", "add it"],
    ),
    (
        "namespace = \"hallpass\"",
        "namespace = \"hallpass\"\nprofile = {}",
        [
            "`temporal`",
            "both a profile and `address`",
            "take one of the two out",
        ],
    ),
    (
        "address = \"http://127.0.0.1:7233\"\n# Must exist; hallpassd registers its search attributes \
         in it at start.\nnamespace = \"hallpass\"",
        "profile = { file = \"/no/such\" }",
        ["`temporal`", "/no/such", "name one that can"],
    ),
    (
        "worker_public_keys = []",
        "worker_public_keys = [\"abc\"]",
        ["`signing.worker_public_keys", "\"abc\"", "new-signing-key"],
    ),
    (
        "# workers = \"own\"",
        "workers = \"mine\"",
        [
            "`aws.accounts.111122223333.workers`",
            "\"mine\"",
            "known here: shared, own",
        ],
    ),
    (
        "namespace = \"hallpass\"",
        "namespace = \"\"",
        ["`temporal.namespace`", "is empty", "name the"],
    ),
    (
        "previous_public_keys = []",
        "previous_public_keys = [\"abc\"]",
        [
            "`signing.previous_public_keys",
            "\"abc\"",
            "new-signing-key",
        ],
    ),
    (
        "namespace = \"hallpass\"",
        "namespace = \"hallpass\"\napi_key = { env = \"KEY\" }",
        ["`temporal.api_key`", "in the clear", "https://HOST:7233"],
    ),
    (
        "namespace = \"hallpass\"",
        "namespace = \"hallpass\"\napi_key = \"hunter2\"",
        ["`temporal.api_key`", "is not as it must be", "{ file ="],
    ),
    (
        "[policy]\n",
        "[temporal.tls]\nca_file = \"/x\"\n[policy]\n",
        ["`temporal.tls`", "is not https", "write https://HOST:7233"],
    ),
    (
        "[policy]\n",
        "[temporal.encryption]\nactive_key = \"k\"\n[temporal.encryption.keys]\n\
         k = { file = \"/no/such/key\" }\n[policy]\n",
        ["`temporal.encryption.keys.k`", "/no/such/key", "mode 0600"],
    ),
    (
        "[policy]\n",
        "[temporal.encryption]\nactive_key = \"j\"\nkeys = {}\n[policy]\n",
        [
            "`temporal.encryption.active_key`",
            "\"j\"",
            "name one of them",
        ],
    ),
    (
        "[policy]\n",
        "[temporal.encryption]\nactive_key = \"k\"\n[temporal.encryption.keys]\n\
         k = { kms = \"arn:aws:kms:us-east-1:111122223333:alias/k\" }\n[policy]\n",
        [
            "`temporal.encryption.keys.k",
            "is not as it must be",
            "{ kms = \"ARN\" }",
        ],
    ),
    (
        "[policy]\n",
        "[codec_endpoint]\naddress = \"127.0.0.1:1\"\n[policy]\n",
        [
            "`codec_endpoint`",
            "nothing is encrypted",
            "take the endpoint out",
        ],
    ),
    (
        "reflection = false",
        "reflection = false\n[listen.tls]\ncertificate_file = \"/x\"",
        ["`listen.tls.key_file`", "is missing", "add it"],
    ),
    (
        "reflection = false",
        "reflection = false\n[listen.tls]\ncertificate_file = \"/x\"\nkey_file = \"/y\"\n\
         require_client_certificate = true",
        [
            "`listen.tls.require_client_certificate`",
            "no authority",
            "listen.tls.client_ca_file",
        ],
    ),
    (
        "reflection = false",
        "reflection = false\n[listen.tls]\ncertificate_file = \"/no/such.crt\"\n\
         key_file = \"/y\"",
        ["/no/such.crt", "PEM", "certificates"],
    ),
    (
        "[policy]\n",
        "[observe]\naddress = \"9464\"\n[policy]\n",
        ["`observe.address`", "\"9464\"", "print-config"],
    ),
    (
        "\"http://127.0.0.1:7233\"",
        "\"http://ops:hunter2@127.0.0.1:7233\"",
        ["`temporal.address`", "a user or a password", "only"],
    ),
    (
        "[policy]\n",
        "[observe]\naddress = \"127.0.0.1:8443\"\n[policy]\n",
        ["`observe.address`", "127.0.0.1:8443", "a port of its own"],
    ),
    (
        "[policy]\n",
        "[observe]\naddress = \"127.0.0.1:9464\"\npath = \"/m\"\n[policy]\n",
        ["`observe.path`", "unknown key", "known here: address"],
    ),
    (
        "[policy]\n",
        "[temporal.encryption]\nactive_key = \"k\"\n[temporal.encryption.keys]\n\
         k = { file = \"{dir}/signing.key\" }\n[codec_endpoint]\n\
         address = \"127.0.0.1:8443\"\n[policy]\n",
        [
            "`codec_endpoint.address`",
            "127.0.0.1:8443",
            "a port of its own",
        ],
    ),
    (
        "[policy]\n",
        "[temporal.encryption]\nactive_key = \"k\"\n[temporal.encryption.keys]\n\
         k = { file = \"{dir}/signing.key\" }\n[codec_endpoint]\n\
         address = \"127.0.0.1:1\"\nallowed_origin = \"https://ui.example.com/x\"\n[policy]\n",
        [
            "`codec_endpoint.allowed_origin`",
            "https://ui.example.com/x",
            "host and port only",
        ],
    ),
    (
        "[policy]\n",
        "[temporal.encryption]\nactive_key = \"k\"\n[temporal.encryption.keys]\n\
         k = { env = \"HALLPASS_TEST_NOT_SET\" }\n[policy]\n",
        [
            "`temporal.encryption.keys.k`",
            "HALLPASS_TEST_NOT_SET",
            "set it, or name a file",
        ],
    ),
    (
        "[policy]\n",
        "[temporal.encryption]\nactive_key = \"a key\"\n[temporal.encryption.keys]\n\
         \"a key\" = { file = \"{dir}/signing.key\" }\n[policy]\n",
        [
            "`temporal.encryption.keys.a key`",
            "cannot be used",
            "new-encryption-key",
        ],
    ),
    (
        "address = \"http://127.0.0.1:7233\"",
        "address = \"https://127.0.0.1:7233\"\napi_key = { env = \"HALLPASS_TEST_NOT_SET\" }",
        [
            "`temporal.api_key`",
            "HALLPASS_TEST_NOT_SET",
            "set it, or name a file",
        ],
    ),
    (
        "address = \"http://127.0.0.1:7233\"",
        "address = \"https://127.0.0.1:7233\"\napi_key = { file = \"/no/such/key\" }",
        ["`temporal.api_key`", "/no/such/key", "mode 0600"],
    ),
    (
        "address = \"http://127.0.0.1:7233\"\n# Must exist",
        "address = \"https://127.0.0.1:7233\"\ntls = { certificate_file = \"/x\" }\n# Must exist",
        [
            "`temporal.tls.key_file`",
            "is missing beside certificate_file",
            "name the key",
        ],
    ),
    (
        "address = \"http://127.0.0.1:7233\"\n# Must exist",
        "address = \"https://127.0.0.1:7233\"\ntls = { key_file = \"/x\" }\n# Must exist",
        [
            "`temporal.tls.certificate_file`",
            "is missing beside key_file",
            "name the certificate",
        ],
    ),
    (
        "directory = \"{dir}/policy\"",
        "directory = \"{dir}/no-policy\"",
        ["`policy.directory`", "/no-policy", "make it"],
    ),
    (
        "reflection = false",
        "reflection = false\n[listen.tls]\ncertificate_file = \"{dir}/signing.key\"\n\
         key_file = \"{dir}/signing.key\"",
        ["signing.key", "certificate", "hold"],
    ),
];
