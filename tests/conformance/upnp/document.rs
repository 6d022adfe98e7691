//! Our own documents, as the running code serves them, under the linter; and the README's tables.

use roundel::base::id::Id;
use roundel::service::device::{self, SERVICES};
use roundel::service::method::Table;
use roundel::service::{Facts, control};
use roundel::wire::description::Description;
use roundel::wire::ssdp::ConfigId;

use super::{AT, lint, request};
use crate::fake::{Alone, Setup, alone};

const README: &str = include_str!("../../../README.md");

fn board(name: &str) -> (Alone, Description) {
    let described = device::describe(&Id::of(b"board"), &name.parse().unwrap());
    let (config_id, document) = (described.config_id, described.emit());
    let facts = move |facts: &mut Facts| {
        let document = bytes::Bytes::from(document);
        facts.description_xml = std::sync::Arc::new(move |_| document.clone());
        facts.config_id = config_id;
    };
    let setup = Setup {
        facts: Box::new(facts),
        ..Setup::default()
    };
    (alone(setup, AT.parse().unwrap()), described)
}

async fn get(board: &Alone, path: &str) -> Vec<u8> {
    let answer = board.service.handle(&request("GET", path, &[], "")).await;
    assert_eq!(answer.status, 200, "{path}");
    let kind = match path.ends_with(".png") {
        true => "image/png",
        false => "text/xml; charset=\"utf-8\"",
    };
    assert_eq!(answer.content_type, kind, "{path}");
    answer.body.to_vec()
}

#[tokio::test]
async fn documents_of_a_board_keep_every_rule() {
    for name in ["kitchen", &"n".repeat(63)] {
        let (board, _) = board(name);
        let (findings, services) = lint::description(&get(&board, "/description.xml").await);
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!(services.len(), SERVICES.len());
        for service in services {
            let findings = lint::scpd(&get(&board, &service.scpd_url).await, &service);
            assert!(findings.is_empty(), "{}: {findings:?}", service.scpd_url);
        }
    }
}

#[tokio::test]
async fn every_url_of_the_description_answers() {
    let (board, described) = board("kitchen");
    let device = &described.device;
    for icon in &device.icons {
        get(&board, &icon.path).await;
    }
    for service in device.services.iter().chain(&device.devices[0].services) {
        get(&board, &service.scpd_path).await;
        for (path, method) in [
            (&service.control_path, "POST"),
            (&service.event_path, "SUBSCRIBE"),
        ] {
            let answer = board.service.handle(&request(method, path, &[], "")).await;
            let what = format!("{method} {path}: {}", answer.status);
            // Without a body or fields they refuse, each in its own way.
            assert!(matches!(answer.status, 412 | 415), "{what}");
        }
    }
    for path in [
        "/service/other/description.xml",
        "/service/ring/",
        "/icon/49.png",
    ] {
        let answer = board.service.handle(&request("GET", path, &[], "")).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[tokio::test]
async fn documents_are_read_only_and_answer_http_1_0_without_a_host() {
    let (board, _) = board("kitchen");
    for path in [
        "/description.xml",
        "/service/ring/description.xml",
        "/icon/48.png",
    ] {
        let posted = board.service.handle(&request("POST", path, &[], "")).await;
        assert_eq!(posted.status, 405, "{path}");
        let mut old = request("GET", path, &[("Host", "")], "");
        old.minor = 0;
        old.fields.as_mut().unwrap().host = None;
        assert_eq!(board.service.handle(&old).await.status, 200, "{path}");
        old.minor = 1;
        assert_eq!(board.service.handle(&old).await.status, 400, "{path}");
        let head = board.service.handle(&request("HEAD", path, &[], "")).await;
        assert_eq!(head.status, 200, "{path}");
        let foreign = request("GET", path, &[("Host", "evil.example")], "");
        assert_eq!(board.service.handle(&foreign).await.status, 421, "{path}");
    }
}

#[test]
fn scpds_carry_the_config_id_they_are_given() {
    for service in SERVICES {
        let text = String::from_utf8(service.scpd(ConfigId::new(77)).emit()).unwrap();
        assert!(text.contains("configId=\"77\""), "{text:.200}");
    }
}

#[test]
fn readme_has_the_tables_of_actions_and_of_errors() {
    let actions = device::markdown(&Table::standard());
    assert!(
        README.contains(&actions),
        "put this into README.md:\n{actions}"
    );
    let errors = control::error_table();
    assert!(
        README.contains(&errors),
        "put this into README.md:\n{errors}"
    );
}
