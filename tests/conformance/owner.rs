//! The owner at the page, by requests and answers alone: who is let in, over what, and with what
//! cookie. Real connections are for `tests/daemon`, real browsers for `tests/browser`.

use roundel::runtime::owner::Keeper;
use roundel::service::exchange::{Answer, Fields, Request, Transport};
use roundel::service::owner::Desk;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake::{Alone, Setup, alone};

const AT: &str = "192.0.2.1:38400";
const STRANGER: &str = "192.0.2.7:50000";
const LOOPBACK: &str = "127.0.0.1:50000";
const PASSWORD: &str = "correct horse";

/// A board that keeps its owner in a directory.
struct Owned {
    board: Alone,
    _directory: TempDir,
}

/// What a request came over.
#[derive(Clone, Copy)]
struct Way {
    from: &'static str,
    secure: bool,
}

const TLS: Way = Way {
    from: STRANGER,
    secure: true,
};
const PLAIN: Way = Way {
    from: STRANGER,
    secure: false,
};
const HERE: Way = Way {
    from: LOOPBACK,
    secure: false,
};

impl Owned {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keeper = Keeper::new(directory.path()).unwrap();
        let setup = Setup {
            facts: Box::new(move |facts| facts.owner = keeper),
            ..Setup::default()
        };
        Owned {
            board: alone(setup, AT.parse().unwrap()),
            _directory: directory,
        }
    }

    fn desk(&self) -> &dyn Desk {
        &*self.board.service.facts().owner
    }

    async fn send(
        &self,
        way: Way,
        method: &str,
        path: &str,
        body: &str,
        more: &[Field<'_>],
    ) -> Answer {
        let scheme = if way.secure { "https" } else { "http" };
        let origin = format!("{scheme}://{AT}");
        let mut fields = vec![("Host", AT), ("Origin", &origin)];
        if method == "POST" {
            fields.push(("Content-Type", "application/json"));
        }
        for (name, value) in more {
            fields.retain(|(known, _)| *known != *name);
            fields.push((*name, *value));
        }
        let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
        let request = Request {
            method: method.into(),
            target: path.into(),
            minor: 1,
            fields: Fields::collect(fields),
            body: body.to_owned().into(),
            from: way.from.parse().unwrap(),
            local: AT.parse().unwrap(),
            secure: way.secure,
            transport: Transport::Tcp,
        };
        self.board.service.handle(&request).await
    }

    async fn post(&self, way: Way, name: &str, body: Value, cookie: &str) -> Answer {
        let path = format!("/presentation/{name}");
        let cookie = [("Cookie", cookie)];
        self.send(way, "POST", &path, &body.to_string(), &cookie)
            .await
    }

    async fn session(&self, way: Way, cookie: &str) -> Value {
        let path = "/presentation/session";
        let answer = self.send(way, "GET", path, "", &[("Cookie", cookie)]).await;
        json(&answer)
    }

    /// Claims the board over TLS; the session's cookie.
    async fn claim(&self) -> String {
        let code = self.desk().code().unwrap();
        let body = json!({"code": code.to_lowercase(), "password": PASSWORD});
        let answer = self.post(TLS, "claim", body, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        cookie(&answer)
    }
}

type Field<'a> = (&'a str, &'a str);

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

fn set_cookie(answer: &Answer) -> &str {
    let mut headers = answer.headers.iter();
    let found = headers.find(|(name, _)| *name == "Set-Cookie");
    &found.expect("a cookie is set").1
}

/// What a browser sends back.
fn cookie(answer: &Answer) -> String {
    set_cookie(answer).split(';').next().unwrap().to_owned()
}

fn assert_refused(answer: &Answer, status: u16, hint: &str) {
    let body = json(answer);
    assert_eq!(answer.status, status, "{body}");
    let reason = body["error"]["data"]["reason"].as_str().unwrap();
    assert!(reason.contains(hint), "{hint:?} is not in {reason:?}");
    assert!(!answer.headers.iter().any(|(name, _)| *name == "Set-Cookie"));
}

#[tokio::test]
async fn board_is_claimed_with_the_code_of_its_console() {
    let board = Owned::new();
    let before = board.session(TLS, "").await;
    assert_eq!(
        (&before["claimed"], &before["owner"]),
        (&false.into(), &false.into())
    );
    let body = json!({"password": PASSWORD});
    assert_refused(
        &board.post(TLS, "login", body, "").await,
        409,
        "code from its console",
    );
    let body = json!({"code": "0000-0000", "password": PASSWORD});
    assert_refused(
        &board.post(TLS, "claim", body, "").await,
        401,
        "the code is wrong",
    );
    let code = board.desk().code().unwrap();
    let body = json!({"code": code, "password": "short"});
    assert_refused(
        &board.post(TLS, "claim", body, "").await,
        400,
        "8 to 128 bytes",
    );

    let cookie = board.claim().await;
    let after = board.session(TLS, &cookie).await;
    assert_eq!(
        (&after["claimed"], &after["owner"]),
        (&true.into(), &true.into())
    );
    assert_eq!(board.session(TLS, "").await["owner"], false);
}

#[tokio::test]
async fn the_cookie_is_out_of_reach_of_scripts_other_sites_and_plain_http() {
    let board = Owned::new();
    let session = board.claim().await;
    let log_in = |way| board.post(way, "login", json!({"password": PASSWORD}), "");
    let within_tls = log_in(TLS).await;
    let flags: Vec<_> = set_cookie(&within_tls).split("; ").skip(1).collect();
    assert_eq!(flags, ["Path=/", "HttpOnly", "SameSite=Strict", "Secure"]);
    let here = log_in(HERE).await;
    assert!(
        !set_cookie(&here).contains("Secure"),
        "browsers would drop it"
    );
    for answer in [&within_tls, &here] {
        let value = cookie(answer);
        let (name, token) = value.split_once('=').unwrap();
        let id = board.board.service.facts().id.short();
        assert_eq!(
            name,
            format!("roundel-{id}"),
            "boards of one host have one each"
        );
        assert_eq!(token.len(), 43, "256 bits");
    }
    assert_ne!(cookie(&within_tls), cookie(&here));
    assert_eq!(
        board.session(PLAIN, &session).await["owner"],
        false,
        "it was overheard"
    );
    assert_eq!(board.session(TLS, &session).await["owner"], true);
    let mixed = format!("other=1; {session}; more=2");
    assert_eq!(board.session(TLS, &mixed).await["owner"], true);
    let last = if session.ends_with('A') { 'E' } else { 'A' };
    let forged = format!("{}{last}", &session[..session.len() - 1]);
    assert_eq!(board.session(TLS, &forged).await["owner"], false);
}

#[tokio::test]
async fn secrets_are_refused_over_plain_http_and_the_way_is_shown() {
    let board = Owned::new();
    board.claim().await;
    let bodies = [
        ("claim", json!({"code": "0000-0000", "password": PASSWORD})),
        ("login", json!({"password": PASSWORD})),
        (
            "password",
            json!({"password": PASSWORD, "new_password": "other horse"}),
        ),
        ("logout", json!({})),
        ("owner-code", json!({})),
    ];
    for (name, body) in bodies {
        let refused = board.post(PLAIN, name, body, "").await;
        assert_refused(&refused, 403, "https://192.0.2.1:38400/presentation");
    }
    let view = board.session(PLAIN, "").await;
    assert_eq!(view["private"], false);
    assert_eq!(view["https"], "https://192.0.2.1:38400/presentation");
}

#[tokio::test]
async fn wrong_passwords_are_counted_before_they_are_hashed() {
    let board = Owned::new();
    let session = board.claim().await;
    let wrong = json!({"password": "battery staple"});
    for _ in 0..5 {
        let refused = board.post(TLS, "login", wrong.clone(), "").await;
        assert_refused(&refused, 401, "the password is wrong");
    }
    let right = json!({"password": PASSWORD});
    let refused = board.post(TLS, "login", right.clone(), "").await;
    assert_refused(&refused, 429, "too many attempts; try again in");
    let here = board.post(HERE, "login", right, "").await;
    assert_eq!(here.status, 200, "the board itself is another source");
    assert_eq!(board.session(TLS, &session).await["owner"], true);
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let board = Owned::new();
    let first = board.claim().await;
    let body = json!({"password": PASSWORD});
    let second = cookie(&board.post(TLS, "login", body, "").await);
    let change = json!({"password": PASSWORD, "new_password": "battery staple"});
    let outside = board.post(TLS, "password", change.clone(), "").await;
    assert_refused(&outside, 401, "log in first");
    let wrong = json!({"password": "wrong horse", "new_password": "battery staple"});
    let refused = board.post(TLS, "password", wrong, &second).await;
    assert_refused(&refused, 401, "the password is wrong");
    let third = cookie(&board.post(TLS, "password", change, &second).await);
    for old in [&first, &second] {
        assert_eq!(board.session(TLS, old).await["owner"], false);
    }
    assert_eq!(board.session(TLS, &third).await["owner"], true);
    let old = board
        .post(TLS, "login", json!({"password": PASSWORD}), "")
        .await;
    assert_refused(&old, 401, "the password is wrong");
}

#[tokio::test]
async fn logging_out_ends_the_session_and_takes_the_cookie() {
    let board = Owned::new();
    let session = board.claim().await;
    let answer = board.post(TLS, "logout", json!({}), &session).await;
    assert_eq!(
        (answer.status, json(&answer)["owner"].clone()),
        (200, json!(false))
    );
    assert!(set_cookie(&answer).contains("=; Max-Age=0; Path=/"));
    assert_eq!(board.session(TLS, &session).await["owner"], false);
}

#[tokio::test]
async fn the_code_is_told_on_the_board_alone_and_sets_a_forgotten_password() {
    let board = Owned::new();
    let session = board.claim().await;
    let refused = board.post(TLS, "owner-code", json!({}), &session).await;
    assert_refused(&refused, 403, "on the board itself alone");
    let told = json(&board.post(HERE, "owner-code", json!({}), "").await);
    let body = json!({"code": told["code"], "password": "battery staple"});
    let claimed = board.post(TLS, "claim", body, "").await;
    assert_eq!(claimed.status, 200);
    assert_eq!(board.session(TLS, &session).await["owner"], false);
}

#[tokio::test]
async fn other_sites_and_other_forms_cannot_log_in() {
    let board = Owned::new();
    board.claim().await;
    let path = "/presentation/login";
    let body = json!({"password": PASSWORD}).to_string();
    let site = [("Origin", "https://evil.example")];
    let refused = board.send(TLS, "POST", path, &body, &site).await;
    assert_refused(&refused, 403, "pages of other sites");
    // The same host without TLS is another site as well.
    let plain = [("Origin", "http://192.0.2.1:38400")];
    let refused = board.send(TLS, "POST", path, &body, &plain).await;
    assert_refused(&refused, 403, "pages of other sites");
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let refused = board.send(TLS, "POST", path, &body, &form).await;
    assert_refused(&refused, 415, "send Content-Type: application/json");
    let refused = board.send(TLS, "POST", path, r#"{"word": "x"}"#, &[]).await;
    assert_refused(&refused, 400, r#"send {"password": …} as JSON"#);
    let refused = board.send(TLS, "GET", path, "", &[]).await;
    assert_refused(&refused, 405, "use one of POST");
}

#[tokio::test]
async fn owner_is_known_again_after_a_restart_and_the_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("owner");
    let with = || {
        let keeper = Keeper::new(directory.path()).unwrap();
        let setup = Setup {
            facts: Box::new(move |facts| facts.owner = keeper),
            ..Setup::default()
        };
        Owned {
            board: alone(setup, AT.parse().unwrap()),
            _directory: tempfile::tempdir().unwrap(),
        }
    };
    let session = with().claim().await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = with();
    assert_eq!(
        again.session(TLS, &session).await["owner"],
        false,
        "sessions end"
    );
    let answer = again
        .post(TLS, "login", json!({"password": PASSWORD}), "")
        .await;
    assert_eq!(answer.status, 200);
    // A damaged file lets nobody in, and the console's code mends it.
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("roundel-owner-1 1 $argon2id$") && !text.contains(PASSWORD));
    std::fs::write(&path, &text[..40]).unwrap();
    let damaged = with();
    let refused = damaged
        .post(TLS, "login", json!({"password": PASSWORD}), "")
        .await;
    assert_refused(&refused, 409, "nobody has claimed");
    damaged.claim().await;
}

#[tokio::test]
async fn a_password_that_cannot_be_kept_is_not_set() {
    let directory = tempfile::tempdir().unwrap();
    let gone = directory.path().join("gone");
    let keeper = Keeper::new(&gone).unwrap();
    let setup = Setup {
        facts: Box::new(move |facts| facts.owner = keeper),
        ..Setup::default()
    };
    let board = Owned {
        board: alone(setup, AT.parse().unwrap()),
        _directory: directory,
    };
    let body = json!({"code": board.desk().code().unwrap(), "password": PASSWORD});
    let refused = board.post(TLS, "claim", body, "").await;
    assert_refused(&refused, 503, "could not be kept");
    assert!(!board.desk().is_claimed());
}
