//! An archive in a bucket: locked object by object, and whole whichever write is the last one.

use hallpass_faults::{Fault, Rule, Target};

use super::*;

/// The root of the hub account, for what the test arranges.
fn root() -> SecretCredentials {
    SecretCredentials::new(
        HUB.to_owned(),
        Zeroizing::new(hallpass_standins::ROOT_SECRET_ACCESS_KEY.to_owned()),
        Zeroizing::new(String::new()),
        Timestamp::MAX,
    )
}

/// A bucket that the service may use, and the emulator behind it.
async fn bucket(world: &Private, store: &str) -> SignedHttp {
    let s3 = SignedHttp::new(Some(world.ministack.endpoint().parse().unwrap())).unwrap();
    let mut make = SignedRequest::put("s3", "us-east-1", "/history", Vec::new());
    make.headers = vec![("x-amz-bucket-object-lock-enabled", "true".to_owned())];
    assert_eq!(s3.send(&root(), make).await.unwrap().status, 200);
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
    let parameters = [
        ("Action", "PutUserPolicy"),
        ("UserName", "hallpass-service"),
        ("PolicyName", "archive"),
        ("PolicyDocument", policy),
    ];
    world.aws().as_root(HUB, &parameters).await;
    let store = format!("kind = \"s3\"\nbucket = \"history\"\n{store}");
    configure(world, "interval_seconds = 3600", &store);
    s3
}

/// Names of all objects.
async fn keys(s3: &SignedHttp) -> Vec<String> {
    let list = SignedRequest::get("s3", "us-east-1", "/history?list-type=2");
    let list = s3.send(&root(), list).await.unwrap();
    let list = String::from_utf8_lossy(&list.body).into_owned();
    let keys = list.split("<Key>").skip(1);
    keys.filter_map(|rest| rest.split_once("</Key>").map(|(key, _)| key.to_owned()))
        .collect()
}

#[tokio::test]
async fn an_archive_in_a_bucket_is_locked_object_by_object() {
    let world = Private::start().await;
    let lock = "{ mode = \"governance\", days = 400 }";
    let store = format!("prefix = \"hallpass/\"\nobject_lock = {lock}");
    let s3 = bucket(&world, &store).await;
    let _service = world.serve("all").await;
    let (alice, dave) = (world.client("alice").await, world.client("dave").await);
    let first = withdrawn(&alice).await;
    assert_eq!(run(&dave).await.unwrap().archived, 1);
    withdrawn(&alice).await;
    let done = run(&dave).await.unwrap();
    let after = done.status.unwrap();
    assert_eq!(
        (done.archived, after.size >= 2, after.waiting),
        (1, true, 0)
    );
    let trusted: [LogKey; 1] = [after.log_key.parse().unwrap()];
    assert!(SignedCheckpoint::open(&after.checkpoint, &trusted).is_ok());

    let keys = keys(&s3).await;
    let histories: Vec<_> = keys.iter().filter(|k| k.contains("histories/")).collect();
    assert!(histories.len() >= 2, "{keys:?}");
    for key in histories {
        let path = format!("/history/{key}?retention");
        let kept = SignedRequest::get("s3", "us-east-1", &path);
        let kept = s3.send(&root(), kept).await.unwrap();
        let kept = String::from_utf8_lossy(&kept.body).into_owned();
        assert!(kept.contains("GOVERNANCE"), "{key}: {kept}");
    }

    // What Temporal forgets is found there by its id.
    forget(&world, &first).await;
    let found = alice.get(&first).await.unwrap();
    assert_eq!(found.state(), State::Withdrawn);
}

/// A copy of the bucket in a folder.
async fn copied(s3: &SignedHttp, folder: &Path) -> Directory {
    for key in keys(s3).await {
        let path = format!("/history/{key}");
        let mut get = SignedRequest::get("s3", "us-east-1", &path);
        get.most_bytes = 64 << 20;
        let object = s3.send(&root(), get).await.unwrap();
        assert_eq!(object.status, 200, "{key}");
        let path = folder.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, object.body).unwrap();
    }
    Directory::open(folder).unwrap()
}

#[tokio::test]
async fn whichever_write_to_a_bucket_is_the_last_nothing_is_lost_and_nothing_is_doubled() {
    let world = Private::start().await;
    let s3 = bucket(&world, "").await;
    let _service = world.serve("all").await;
    let (alice, dave) = (world.client("alice").await, world.client("dave").await);
    let mut asked = BTreeSet::from([withdrawn(&alice).await]);
    assert_eq!(run(&dave).await.unwrap().archived, 1);
    let first = status(&dave).await.unwrap().checkpoint;

    let mut struck = 0;
    for fault in [Fault::ServerError, Fault::LoseReply] {
        for write in 0.. {
            asked.insert(withdrawn(&alice).await);
            let rule = Rule::new(Target::action("s3:PUT"), fault.clone());
            world.faults.add(rule.after(write).always());
            let broke = run(&dave).await.is_err();
            world.faults.clear();
            let after = run(&dave).await.unwrap().status.unwrap();
            assert_eq!(after.waiting, 0, "{fault:?} from write {write} on");
            if !broke {
                break;
            }
            struck += 1;
        }
    }
    // Lease, history, what comes next, entries, tile, checkpoint, index; each failed in both ways.
    assert!(struck >= 2 * 7, "{struck}");

    let after = status(&dave).await.unwrap();
    let key: LogKey = after.log_key.parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = copied(&s3, folder.path()).await;
    let archived = names(&verified(&store, &key).await);
    assert_eq!(archived.len(), asked.len(), "nothing is there twice");
    assert_eq!(archived.into_iter().collect::<BTreeSet<_>>(), asked);
    let trusted = [key];
    let head = checkpoint(&store, &trusted).await.unwrap().unwrap();
    let old = SignedCheckpoint::open(&first, &trusted)
        .unwrap()
        .checkpoint();
    let proof = prove_consistency(&store, &head, old.size).await.unwrap();
    assert_eq!(proof.verify(old, &trusted).unwrap(), head.checkpoint());
}
