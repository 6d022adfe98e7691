//! `roundel shell` without a terminal: scripts, their errors, and what they send.

use serde_json::{Value, json};

use crate::{Fake, code, error, node_state, result, text};

#[test]
fn a_script_of_the_shell_ends_at_its_first_error_with_its_exit_code() {
    let fake = Fake::new(|method, params| match method {
        "get" if params["key"] == "gone" => error(-32_004, json!({"reason": "Nothing there."})),
        "get" => "\"result\":{\"key\":\"k\",\"value\":1.50}".to_owned(),
        _ => result(json!({"method": method, "params": params})),
    });
    let script = "get k\necho({\"a\":\n[1]}) # over two lines\nget gone; get k\n";
    let expected =
        "1.50\n{\n  \"method\": \"echo\",\n  \"params\": {\n    \"a\": [\n      1\n    ]\n  }\n}\n";
    for output in [
        fake.run(&["shell", "-c", script]),
        fake.run_with(&["shell"], script.as_bytes()),
    ] {
        let said = text(&output.stderr);
        assert_eq!(code(&output), 3, "{said}");
        assert_eq!(text(&output.stdout), expected);
        assert!(said.contains("Nothing there (Said) [-32004]"), "{said}");
        assert!(said.contains("next: "), "{said}");
    }
    let output = fake.run_with(&["shell", "--keep-going"], script.as_bytes());
    let said = text(&output.stderr);
    assert_eq!(code(&output), 3);
    assert_eq!(text(&output.stdout), format!("{expected}1.50\n"));
    assert!(said.contains("1 of 4 commands failed"), "{said}");
    let output = fake.run(&["shell", "-c", "get k; exit; get gone"]);
    assert_eq!(
        (code(&output), text(&output.stdout)),
        (0, "1.50\n".to_owned())
    );
}

#[test]
fn the_shell_says_where_a_command_is_wrong() {
    let fake = Fake::new(|_, params| result(params.clone()));
    for (script, place) in [
        ("help; echo(., lamp)", "line 1, column 15: this is not JSON"),
        (
            "# a\n\n  echo({},\n1)",
            "line 3, column 10: a ',' or the ')'",
        ),
        ("echo(.,\n  1 2)", "line 2, column 5: a ',' or the ')'"),
        ("status extra", "unexpected argument 'extra'"),
        ("put k -", "no value is read from the input"),
        ("use", "`use` needs a board"),
        ("list all", "`list` does not take 'all'"),
        ("serch", "did you mean 'search'"),
        ("echo {}", "write echo()"),
    ] {
        let output = fake.run(&["shell", "-c", script]);
        let said = text(&output.stderr);
        assert_eq!(code(&output), 2, "{script}: {said}");
        assert!(said.contains(place), "{script}: {said}");
    }
    let output = fake.run(&["shell", "-c", "echo()\n("]);
    assert!(text(&output.stderr).contains("line 2, column 1: what is opened"));
    let output = fake.run_with(&["shell"], b"echo()\n\xff\n");
    assert!(text(&output.stderr).contains("not UTF-8"));
    assert_eq!(
        (code(&output), text(&output.stdout)),
        (2, "{}\n".to_owned())
    );
}

#[test]
fn a_call_of_the_shell_names_its_board() {
    let fake = Fake::new(|method, params| match method {
        "get_node_state" => result(node_state()),
        "get_network_state" => {
            let mut other = node_state();
            other["name"] = json!("cellar");
            other["hash"] = json!("9".repeat(64));
            result(json!({"clusters": [{"name": "home", "nodes": [node_state(), other]}]}))
        }
        _ => result(params.clone()),
    });
    let sent = |script: &str| -> Value {
        let output = fake.run(&["shell", "-c", script]);
        assert_eq!(code(&output), 0, "{script}: {}", text(&output.stderr));
        serde_json::from_str(&fake.requests().pop().unwrap()).unwrap()
    };
    let request = sent("echo(cellar, {\"a\": 1})");
    assert_eq!(request["dest"], "9".repeat(64));
    assert_eq!(
        (&request["forward"], &request["params"]),
        (&json!(true), &json!({"a": 1}))
    );
    let request = sent("echo(*, 1, \"b\")");
    assert_eq!(
        (&request["dest"], &request["params"]),
        (&json!("*"), &json!([1, "b"]))
    );
    let request = sent("echo({\"key\": \"a\"})");
    assert_eq!(
        (&request["dest"], &request["params"]),
        (&Value::Null, &json!({"key": "a"}))
    );
    let output = fake.run(&["shell", "-c", "echo(roof)"]);
    assert_eq!(code(&output), 3, "{}", text(&output.stderr));
    let output = fake.run(&["shell", "-c", "list"]);
    let said = text(&output.stdout);
    assert!(
        said.contains(">  attic") && said.contains("cellar"),
        "{said}"
    );
    let output = fake.run(&["shell", "--json", "-c", "echo({\"a\":\n1})"]);
    assert_eq!(text(&output.stdout), "{\"a\":1}\n");
}

#[test]
fn the_shell_stores_what_was_meant() {
    let fake =
        Fake::new(|_, _| result(json!({"key": "k", "node": "n", "version": "v", "acks": 1})));
    for (command, sent) in [
        (
            "put k {\"on\": true, \"n\": [1, 2]}",
            "\"value\":{\"on\": true, \"n\": [1, 2]}",
        ),
        ("put k \"42\"", "\"value\":\"42\""),
        ("put k 42", "\"value\":42"),
        (
            "put 'two words' 'a; b'",
            "\"key\":\"two words\",\"value\":\"a; b\"",
        ),
        ("put --consistency all k \"a\\nb\"", "\"value\":\"a\\nb\""),
    ] {
        let output = fake.run(&["shell", "-c", command]);
        assert_eq!(code(&output), 0, "{command}: {}", text(&output.stderr));
        let request = fake.requests().pop().unwrap();
        assert!(request.contains(sent), "{request}");
    }
}
