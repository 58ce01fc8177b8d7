//! TLS: who is let in, who is trusted, and certificates that change under load.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hallpass_proto::v1::ListEntitlementsRequest;
use hallpass_proto::v1::access_service_client::AccessServiceClient;
use harness::{Private, Service, until};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate in PEM and its key.
fn leaf(by: &Authority, name: &str, expired: bool) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    if expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, by).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// The service's certificate files, replaced the way a renewal does it.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn of(world: &Private) -> Self {
        Self {
            certificate: world.dir().join("tls.crt"),
            key: world.dir().join("tls.key"),
        }
    }

    fn write(&self, (certificate, key): &(String, String)) {
        let replace = |path: &Path, text: &str| {
            let new = path.with_extension("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(new, path).unwrap();
        };
        replace(&self.key, key);
        replace(&self.certificate, certificate);
    }
}

async fn serve(world: &Private, files: &Files, client_ca: Option<&Authority>) -> Service {
    let path = |p: &Path| toml::Value::from(p.display().to_string());
    let mut tls = toml::Table::from_iter([
        ("certificate_file".to_owned(), path(&files.certificate)),
        ("key_file".to_owned(), path(&files.key)),
    ]);
    if let Some(ca) = client_ca {
        let file = world.dir().join("clients.crt");
        std::fs::write(&file, ca.pem()).unwrap();
        tls.insert("client_ca_file".to_owned(), path(&file));
        tls.insert("require_client_certificate".to_owned(), true.into());
    }
    world.configure(|config| {
        let listen = config["listen"].as_table_mut().unwrap();
        listen.insert("tls".to_owned(), tls.into());
    });
    world.serve("all").await
}

fn endpoint(world: &Private, tls: ClientTlsConfig) -> Endpoint {
    let address = world.server().replace("http://", "https://");
    Channel::from_shared(address)
        .unwrap()
        .tls_config(tls)
        .unwrap()
}

fn trusting(ca: &Authority) -> ClientTlsConfig {
    ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ca.pem()))
        .domain_name("hallpass.test")
}

async fn list(world: &Private, channel: Channel) -> Result<usize, tonic::Status> {
    let mut request = Request::new(ListEntitlementsRequest::default());
    let token = world.issuer.mint("alice").unwrap();
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    let answer = AccessServiceClient::new(channel)
        .list_entitlements(request)
        .await?;
    Ok(answer.into_inner().entitlements.len())
}

#[tokio::test]
async fn a_caller_refuses_a_service_that_it_cannot_trust() {
    let world = Private::start().await;
    let (ours, other) = (authority("ours"), authority("other"));
    let files = Files::of(&world);
    files.write(&leaf(&ours, "hallpass.test", false));
    let service = serve(&world, &files, None).await;
    let channel = endpoint(&world, trusting(&ours)).connect().await.unwrap();
    assert!(list(&world, channel).await.unwrap() > 0);

    let wrong = [
        ("another authority", trusting(&other)),
        (
            "another name",
            trusting(&ours).domain_name("elsewhere.test"),
        ),
    ];
    for (why, tls) in wrong {
        assert!(endpoint(&world, tls).connect().await.is_err(), "{why}");
    }
    let plain = Channel::from_shared(world.server().to_owned()).unwrap();
    let answer = match plain.connect().await {
        Ok(channel) => list(&world, channel).await.map_err(|s| s.code()),
        Err(_) => Err(Code::Unavailable),
    };
    assert!(answer.is_err(), "plain text was answered");
    service.kill_hard().await;

    files.write(&leaf(&ours, "hallpass.test", true));
    let _service = serve(&world, &files, None).await;
    let expired = endpoint(&world, trusting(&ours)).connect().await;
    assert!(expired.is_err(), "an expired certificate was taken");
}

#[tokio::test]
async fn without_a_client_certificate_of_the_right_authority_nobody_is_let_in() {
    let world = Private::start().await;
    let (ours, clients, other) = (authority("ours"), authority("clients"), authority("other"));
    let files = Files::of(&world);
    files.write(&leaf(&ours, "hallpass.test", false));
    let _service = serve(&world, &files, Some(&clients)).await;
    let with = |(certificate, key): (String, String)| {
        trusting(&ours).identity(Identity::from_pem(certificate, key))
    };
    let good = with(leaf(&clients, "alice", false));
    let channel = endpoint(&world, good).connect().await.unwrap();
    assert!(list(&world, channel).await.unwrap() > 0);

    let wrong = [
        ("none", trusting(&ours)),
        ("of another authority", with(leaf(&other, "alice", false))),
        ("expired", with(leaf(&clients, "alice", true))),
    ];
    for (why, tls) in wrong {
        // In TLS 1.3 the refusal comes after the client believes that it is connected.
        let answer = match endpoint(&world, tls).connect().await {
            Ok(channel) => list(&world, channel).await.map_err(|s| s.to_string()),
            Err(error) => Err(error.to_string()),
        };
        assert!(answer.is_err(), "{why}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_taken_under_load_and_a_broken_one_is_not() {
    let world = Private::start().await;
    let (old, new) = (authority("old"), authority("new"));
    let files = Files::of(&world);
    files.write(&leaf(&old, "hallpass.test", false));
    let service = serve(&world, &files, None).await;
    let channel = endpoint(&world, trusting(&old)).connect().await.unwrap();

    let world = Arc::new(world);
    let (stop, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
    );
    let load = tokio::spawn({
        let (world, stop, calls) = (Arc::clone(&world), Arc::clone(&stop), Arc::clone(&calls));
        async move {
            while !stop.load(Ordering::Relaxed) {
                list(&world, channel.clone()).await.unwrap();
                calls.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    std::fs::write(&files.certificate, "no certificate").unwrap();
    until("the log says that the file is broken", || async {
        let log = std::fs::read_to_string(&service.log).unwrap();
        log.contains("certificate was not read again").then_some(())
    })
    .await;
    endpoint(&world, trusting(&old)).connect().await.unwrap();

    files.write(&leaf(&new, "hallpass.test", false));
    let fresh = until("the new certificate is shown", || async {
        endpoint(&world, trusting(&new)).connect().await.ok()
    })
    .await;
    assert!(list(&world, fresh).await.unwrap() > 0);
    assert!(endpoint(&world, trusting(&old)).connect().await.is_err());
    let before = calls.load(Ordering::Relaxed);
    until("calls on the old connection go on", || async {
        (calls.load(Ordering::Relaxed) > before + 5).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
}
