//! What `deploy`, docker-compose.yml and the Dockerfile say, held against this program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser as _};
use hallpass_standins::DYNAMIC_CONFIG;
use serde::Deserialize as _;
use serde_yaml_ng::{Deserializer, Value};

use super::Cli;
use crate::config::Config;
use crate::observe::{LIVE, READY};

fn file(path: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The documents of a YAML file, with `<<` resolved.
fn documents(path: &str) -> Vec<Value> {
    let text = file(path);
    let documents = Deserializer::from_str(&text).map(|document| {
        let mut value = Value::deserialize(document).unwrap();
        // What is merged may merge in turn.
        value.apply_merge().unwrap();
        value.apply_merge().unwrap();
        value
    });
    documents.collect()
}

/// The services of docker-compose.yml.
fn services() -> Vec<(String, Value)> {
    let compose = documents("docker-compose.yml").remove(0);
    let services = compose["services"].as_mapping().unwrap().clone();
    let named = |(name, service): (Value, Value)| (name.as_str().unwrap().to_owned(), service);
    services.into_iter().map(named).collect()
}

/// The pods' specifications of the Kubernetes manifests, by deployment.
fn pods() -> Vec<(String, Value)> {
    let manifests = documents("deploy/kubernetes/hallpass.yaml").into_iter();
    let pods = manifests.filter(|m| m["kind"] == "Deployment").map(|m| {
        let name = m["metadata"]["name"].as_str().unwrap().to_owned();
        (name, m["spec"]["template"]["spec"].clone())
    });
    pods.collect()
}

fn words(list: &Value) -> Vec<String> {
    let list = list
        .as_sequence()
        .unwrap_or_else(|| panic!("no list: {list:?}"));
    list.iter()
        .map(|w| w.as_str().unwrap().to_owned())
        .collect()
}

/// Whether hallpassd takes this command line; `told` are the variables that are set.
#[track_caller]
fn takes(arguments: &[String], told: &[String]) {
    let mut arguments = arguments.to_vec();
    // The tests' own environment says nothing of a deployment's.
    if told.iter().any(|name| name == "HALLPASS_CONFIG") {
        arguments.extend(["--config".to_owned(), "x".to_owned()]);
    }
    let line = std::iter::once("hallpassd".to_owned()).chain(arguments.clone());
    if let Err(error) = Cli::try_parse_from(line) {
        panic!("hallpassd {arguments:?}: {error}");
    }
}

/// The environment variables that hallpassd reads by itself.
fn variables() -> BTreeSet<String> {
    let mut root = Cli::command();
    root.build();
    let mut names = BTreeSet::new();
    let mut commands = vec![&root];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands());
        let of = |a: &clap::Arg| Some(a.get_env()?.to_string_lossy().into_owned());
        names.extend(command.get_arguments().filter_map(of));
    }
    names
}

#[test]
fn every_command_line_is_one_that_hallpassd_takes() {
    let known = variables();
    let mut roles = Vec::new();
    for (name, service) in services() {
        let image = service["image"].as_str().unwrap();
        if !image.starts_with("hallpassd:") {
            continue;
        }
        let command = words(&service["command"]);
        assert_eq!(command[0], "hallpassd", "{name}");
        let set = service["environment"].as_mapping().unwrap().keys();
        let set: Vec<_> = set.map(|k| k.as_str().unwrap().to_owned()).collect();
        for variable in &set {
            assert!(
                known.contains(variable),
                "{name}: hallpassd reads no {variable}"
            );
        }
        takes(&command[1..], &set);
        roles.push(command.last().unwrap().clone());
    }
    assert_eq!(roles, ["api", "worker", "ends"]);

    roles.clear();
    for (_, pod) in pods() {
        let arguments = words(&pod["containers"][0]["args"]);
        takes(&arguments, &[]);
        let role = arguments.iter().position(|a| a == "--role").unwrap();
        roles.push(arguments[role + 1].clone());
    }
    assert_eq!(roles, ["api", "worker", "ends"]);

    let unit = file("deploy/systemd/hallpassd@.service");
    let lines = unit
        .lines()
        .filter_map(|l| l.split_once("=/usr/bin/hallpassd "));
    let lines: Vec<_> = lines.collect();
    assert_eq!(
        lines.iter().map(|(k, _)| *k).collect::<Vec<_>>(),
        ["ExecStartPre", "ExecStart"]
    );
    for role in ["api", "worker", "ends", "all"] {
        for (_, line) in &lines {
            let line = line.replace("%i", role);
            takes(&line.split(' ').map(str::to_owned).collect::<Vec<_>>(), &[]);
        }
    }
}

/// A name with a version of at least two numbers after the colon, or a digest.
fn is_pinned(image: &str) -> bool {
    if let Some((_, digest)) = image.split_once("@sha256:") {
        return digest.len() == 64;
    }
    let tag = image
        .rsplit('/')
        .next()
        .and_then(|last| last.split_once(':'));
    tag.is_some_and(|(_, tag)| {
        let version = tag.trim_start_matches(|c: char| !c.is_ascii_digit());
        let numbers = version.split(['.', '-']);
        let numbers = numbers.take_while(|n| n.bytes().all(|b| b.is_ascii_digit()));
        !tag.contains("latest")
            && (numbers.clone().count() >= 2 || numbers.clone().any(|n| n.len() == 8))
    })
}

#[test]
fn every_image_is_pinned() {
    for (image, pinned) in [
        ("postgres:16.8-alpine3.20", true),
        ("debian:bookworm-20250811-slim", true),
        ("ghcr.io/hallpass/hallpass:0.1.0", true),
        ("postgres", false),
        ("postgres:16", false),
        ("localhost:5000/postgres", false),
        ("postgres:latest", false),
    ] {
        assert_eq!(is_pinned(image), pinned, "{image}");
    }
    let composed = services()
        .into_iter()
        .map(|(_, s)| s["image"].as_str().unwrap().to_owned());
    let kubernetes = pods().into_iter().flat_map(|(_, pod)| {
        let containers = pod["containers"].as_sequence().unwrap().clone();
        containers
            .into_iter()
            .map(|c| c["image"].as_str().unwrap().to_owned())
    });
    let docker = file("Dockerfile");
    let built = docker.lines().filter_map(|l| l.strip_prefix("FROM "));
    let built = built.map(|l| l.split(' ').next().unwrap().to_owned());
    let all: Vec<_> = composed.chain(kubernetes).chain(built).collect();
    assert!(all.len() >= 12, "{all:?}");
    for image in all {
        assert!(is_pinned(&image), "{image} can be another one tomorrow");
    }
}

#[test]
fn containers_are_confined_published_on_loopback_and_watched() {
    for (name, service) in services() {
        // Those write beside their programs; the file says so.
        let writes = ["temporal", "keycloak"].contains(&name.as_str());
        assert_eq!(service["read_only"], !writes, "{name}");
        assert_eq!(words(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(
            words(&service["security_opt"]),
            ["no-new-privileges:true"],
            "{name}"
        );
        if let Some(ports) = service.get("ports") {
            for port in words(ports) {
                assert!(
                    port.starts_with("127.0.0.1:"),
                    "{name} is published at {port}"
                );
            }
        }
        let test = words(&service["healthcheck"]["test"]);
        assert_eq!(test[0], "CMD", "{name}");
        if service["image"].as_str().unwrap().starts_with("hallpassd:") {
            assert!(
                test.last().unwrap().contains(&format!("GET {READY} ")),
                "{test:?}"
            );
        }
        for other in service
            .get("depends_on")
            .and_then(Value::as_mapping)
            .into_iter()
            .flatten()
        {
            assert_eq!(other.1["condition"], "service_healthy", "{name}");
        }
    }
    for (name, pod) in pods() {
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        let container = &pod["containers"][0];
        let confined = &container["securityContext"];
        assert_eq!(confined["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(confined["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(words(&confined["capabilities"]["drop"]), ["ALL"], "{name}");
        let ports = container["ports"].as_sequence().unwrap();
        for (probe, path) in [("readinessProbe", READY), ("livenessProbe", LIVE)] {
            let get = &container[probe]["httpGet"];
            assert_eq!(get["path"], path, "{name}");
            assert!(
                ports.iter().any(|p| p["name"] == get["port"]),
                "{name}: {probe}"
            );
        }
    }
    let docker = file("Dockerfile");
    for stage in docker
        .split("FROM ")
        .filter(|s| s.contains(" AS tools") || s.contains(" AS hallpassd"))
    {
        let user = stage
            .lines()
            .filter_map(|l| l.strip_prefix("USER "))
            .next_back();
        assert!(user.is_some_and(|u| u != "root" && u != "0"), "{stage}");
    }
}

#[test]
fn the_example_for_compose_is_valid_and_fits_the_containers() {
    let config: Config = toml::from_str(&file("deploy/compose/hallpassd.toml")).unwrap();
    config.check().unwrap();
    let compose = services();
    let named = |host: &str| compose.iter().any(|(name, _)| name == host);
    assert!(named(config.temporal.address.host_str().unwrap()));
    let api = &compose.iter().find(|(name, _)| name == "api").unwrap().1;
    let issuer: url::Url = config.issuers[0].issuer.parse().unwrap();
    let published = words(&api["ports"]);
    for port in [config.listen.address.port(), issuer.port().unwrap()] {
        let found = published.iter().any(|p| p.ends_with(&format!(":{port}")));
        assert!(found, "{port} is not among {published:?}");
    }
    let watched = config.observe.unwrap().address;
    let test = words(&api["healthcheck"]["test"]).pop().unwrap();
    assert!(
        test.contains(&format!("/dev/tcp/127.0.0.1/{}", watched.port())),
        "{test}"
    );
    let temporal = &compose
        .iter()
        .find(|(name, _)| name == "temporal")
        .unwrap()
        .1;
    let namespace = &temporal["environment"]["DEFAULT_NAMESPACE"];
    assert_eq!(*namespace, config.temporal.namespace.as_str());
}

#[test]
fn temporal_has_the_settings_that_tests_and_figures_are_made_with() {
    let shipped = documents("deploy/temporal/dynamic-config.yaml").remove(0);
    let shipped = shipped.as_mapping().unwrap().iter();
    let shipped: BTreeMap<_, _> = shipped
        .map(|(key, values)| {
            let value = serde_yaml_ng::to_string(&values[0]["value"]).unwrap();
            (key.as_str().unwrap().to_owned(), value.trim().to_owned())
        })
        .collect();
    let tested = DYNAMIC_CONFIG.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(shipped, BTreeMap::from(tested));
    let services = services();
    let (_, temporal) = services.iter().find(|(n, _)| n == "temporal").unwrap();
    let path = &temporal["environment"]["DYNAMIC_CONFIG_FILE_PATH"];
    let mount = words(&temporal["volumes"]).remove(0);
    let mount: Vec<_> = mount.split(':').collect();
    assert_eq!(
        mount,
        [
            "./deploy/temporal/dynamic-config.yaml",
            path.as_str().unwrap(),
            "ro"
        ]
    );
}

#[test]
fn the_version_names_commit_and_features() {
    let refused = Cli::try_parse_from(["hallpassd", "--version"]).unwrap_err();
    let said = refused.to_string();
    let rest = said.strip_prefix(concat!(
        "hallpassd ",
        env!("CARGO_PKG_VERSION"),
        " (commit "
    ));
    let (commit, rest) = rest
        .and_then(|r| r.split_once(", "))
        .unwrap_or_else(|| panic!("{said}"));
    let is_commit = commit.len() == 12 && commit.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(is_commit || commit == "unknown", "{said}");
    assert_eq!(rest.trim_end(), "features none)");
}
