//! Carries out the commands of a shell: which board is in use, which are known, what is asked.

use std::io::Write;

use clap::Parser;

use super::known::{Boards, Known, NetworkState, nobody};
use super::parse::{Call, Command};
use super::print::pretty;
use super::scan::Word;
use crate::cli::args::ClientArgs;
use crate::cli::failure::{Failure, Kind};
use crate::cli::out::{Out, shown, table};
use crate::cli::rpc::{Client, Route};
use crate::cli::shape::{NodeState, short};
use crate::cli::tls::Tls;
use crate::cli::{get, list, nodes, pages, put, remove, ring, status, target};
use crate::service::method::{Method, Param, Table, Takes};
use crate::wire::jsonrpc::nearest;

/// Commands that are words.
pub const COMMANDS: &[&str] = &[
    "help", "search", "list", "use", "put", "get", "remove", "scan", "status", "ring", "nodes",
    "exit",
];

const HELP: &str = "\
search                 look for boards on the LAN
list                   list the boards that are known
use NAME|ADDRESS|ID    ask this board from now on
put KEY VALUE, get KEY, remove KEY, scan, status, ring, nodes
                       as the verbs of `roundel`, with their options
method(params)         call a method of the board in use:  put({\"key\": \"a\", \"value\": 1})
method(object, params) call it on a board by name, id or address, on . (the board in use),
                       ? (any one) or * (every one):  get_node_stats(*)
                       params are JSON: an object, an array, or values:  put(., \"a\", 1)
help methods           list the methods
help NAME              say what a method takes
exit                   end, as does Ctrl-D

Open brackets and quotes go on over several lines; ; separates commands; # begins a comment.
";

/// The verbs that take their words as `roundel` does.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_subcommand = true)]
enum Verb {
    /// Store a value under a key.
    Put(put::Args),
    /// Print the value of a key.
    Get(get::Args),
    /// Remove a key.
    Remove(remove::Args),
    /// List what the whole ring holds.
    Scan(list::Args),
    /// Say in words how the board is.
    Status(status::Args),
    /// Draw the ring.
    Ring(ring::Args),
    /// List the boards of the cluster.
    Nodes(nodes::Args),
}

/// Whether another command can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It can.
    GoOn,
    /// The person has had enough.
    End,
}

/// See the module.
pub struct Session {
    args: ClientArgs,
    client: Option<Client>,
    /// Who the board in use is, once it has said so.
    here: Option<NodeState>,
    boards: Boards,
    methods: Table,
}

impl Session {
    /// No board is asked yet.
    pub fn new(args: ClientArgs) -> Self {
        Session {
            args,
            client: None,
            here: None,
            boards: Boards::default(),
            methods: Table::standard(),
        }
    }

    /// What the board in use is called.
    pub fn here(&self) -> Option<String> {
        let here = self.here.as_ref()?;
        Some(shown(here.name.as_deref().unwrap_or(&short(&here.hash))))
    }

    /// The names of the boards that are known.
    pub fn names(&self) -> Vec<String> {
        self.boards.all().iter().map(Known::called).collect()
    }

    /// The names of the methods.
    pub fn methods(&self) -> Vec<&'static str> {
        self.methods
            .methods()
            .iter()
            .map(|method| method.name)
            .collect()
    }

    /// Finds a board, asks who it is and which others it knows.
    ///
    /// # Errors
    /// [`Failure`] of the target or the calls.
    pub async fn look_around(&mut self) -> Result<(), Failure> {
        let none = serde_json::Map::new();
        let client = self.client().await?;
        let here: NodeState = client.call_as("get_node_state", &none).await?;
        let network: NetworkState = client.call_as("get_network_state", &none).await?;
        self.here = Some(here);
        self.boards.learn(network);
        Ok(())
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// [`Failure`] of usage for commands and words nobody knows, else of the target or the call.
    pub async fn run(&mut self, command: Command, out: &mut Out) -> Result<After, Failure> {
        let words = match command {
            Command::Call(call) => {
                self.call(call, out).await?;
                return Ok(After::GoOn);
            }
            Command::Plain(words) => words,
        };
        let argument = match (&words[1..], words[0].text.as_str()) {
            ([], _) => None,
            ([one], "use" | "help") => Some(one.text.as_str()),
            (_, name @ ("use" | "help" | "search" | "list" | "exit" | "quit")) => {
                let what = format!("`{name}` does not take '{}'", shown(&words[1].text));
                return Err(Failure::usage(what, "`help` shows what each command takes"));
            }
            _ => None,
        };
        match words[0].text.as_str() {
            "help" | "?" => self.help(argument, out)?,
            "search" => self.search(out).await?,
            "list" => self.list(out).await?,
            "use" => self.change(argument, out).await?,
            "exit" | "quit" => return Ok(After::End),
            "put" | "get" | "remove" | "scan" | "status" | "ring" | "nodes" => {
                self.verb(&words, out).await?;
            }
            other => return Err(self.unknown(other)),
        }
        Ok(After::GoOn)
    }

    async fn client(&mut self) -> Result<&mut Client, Failure> {
        if self.client.is_none() {
            self.client = Some(target::connect(&self.args).await?);
        }
        Ok(self.client.as_mut().expect("it was just put there"))
    }

    async fn call(&mut self, call: Call, out: &mut Out) -> Result<(), Failure> {
        let route = |dest: &str, forward| Route {
            dest: Some(dest.to_owned()),
            forward,
        };
        let result = match call.object.as_deref() {
            None => {
                let client = self.client().await?;
                client.call(&call.method, &call.params).await?
            }
            Some(all @ ("*" | "?")) => {
                let (client, route) = (self.client().await?, route(all, false));
                client
                    .call_routed(&call.method, &call.params, &route)
                    .await?
            }
            Some(called) => {
                let board = self.board(called).await?;
                let cluster = self.here.as_ref().map(|here| here.cluster.as_str());
                if cluster == Some(board.cluster.as_str()) {
                    let (client, route) = (self.client().await?, route(&board.id, true));
                    client
                        .call_routed(&call.method, &call.params, &route)
                        .await?
                } else {
                    // No board of ours can pass the call on to another cluster.
                    let at = board.address.ok_or_else(|| nobody(called))?;
                    let mut client = target::client(&self.args, target::resolve(&at).await?)?;
                    client.call(&call.method, &call.params).await?
                }
            }
        };
        match self.args.json {
            true => writeln!(out, "{}", result.get().replace(['\n', '\r'], " "))?,
            false => writeln!(out, "{}", pretty(result.get(), out.paint))?,
        }
        Ok(())
    }

    /// The board of that name, id or address; the board in use is asked about those not known.
    async fn board(&mut self, called: &str) -> Result<Known, Failure> {
        if self.here.is_none() || self.boards.pick(called)?.is_none() {
            self.look_around().await?;
        }
        if let Some(known) = self.boards.pick(called)? {
            return Ok(known.clone());
        }
        if !is_address(called) {
            return Err(nobody(called));
        }
        let mut client = target::client(&self.args, target::resolve(called).await?)?;
        let state: NodeState = client
            .call_as("get_node_state", &serde_json::Map::new())
            .await?;
        Ok(Known {
            name: state.name,
            id: state.hash,
            cluster: state.cluster,
            address: Some(client.address().to_string()),
            state: state.state,
        })
    }

    async fn change(&mut self, called: Option<&str>, out: &mut Out) -> Result<(), Failure> {
        let Some(called) = called else {
            let next = "`use NAME`, `use ADDRESS` or `use ID`; `list` shows the boards";
            return Err(Failure::usage("`use` needs a board", next));
        };
        let at = match self.boards.pick(called)? {
            Some(known) => known.address.clone(),
            // A board is in use without any other that answers.
            None if is_address(called) => Some(called.to_owned()),
            None => self.board(called).await?.address,
        };
        let at = target::resolve(&at.ok_or_else(|| nobody(called))?).await?;
        let mut client = target::client(&self.args, at)?;
        let here: NodeState = client
            .call_as("get_node_state", &serde_json::Map::new())
            .await?;
        let name = here.name.clone().unwrap_or_else(|| short(&here.hash));
        writeln!(
            out,
            "using {} ({}) of cluster {} at http://{at}",
            shown(&name),
            short(&here.hash),
            shown(&here.cluster)
        )?;
        (self.client, self.here) = (Some(client), Some(here));
        self.look_around().await
    }

    async fn search(&mut self, out: &mut Out) -> Result<(), Failure> {
        let cluster = self.args.cluster.as_ref().map(|name| name.as_str());
        let found = target::discover(&self.args.interfaces, cluster).await?;
        if found.is_empty() {
            return Err(Failure::new(
                Kind::Unavailable,
                "no board answers on the LAN",
                "start one with `roundel run`, or ask `roundel doctor` why none is seen",
            ));
        }
        for board in &found {
            self.boards.found(board);
        }
        if self.args.json {
            for board in &found {
                let line = serde_json::to_string(board).expect("a board that answered is JSON");
                writeln!(out, "{line}")?;
            }
            return Ok(());
        }
        self.show(
            |known| found.iter().any(|board| board.id.to_string() == known.id),
            out,
        )
    }

    async fn list(&mut self, out: &mut Out) -> Result<(), Failure> {
        if self.args.json {
            let client = self.client().await?;
            let result = client
                .call("get_network_state", &serde_json::Map::new())
                .await?;
            return Ok(writeln!(
                out,
                "{}",
                result.get().replace(['\n', '\r'], " ")
            )?);
        }
        self.look_around().await?;
        self.show(|_| true, out)
    }

    fn show(&self, wanted: impl Fn(&Known) -> bool, out: &mut Out) -> Result<(), Failure> {
        let head = ["", "NAME", "ID", "ADDRESS", "CLUSTER", "STATE"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for known in self.boards.all().iter().filter(|known| wanted(known)) {
            let here = self.here.as_ref().is_some_and(|here| here.hash == known.id);
            rows.push(vec![
                if here { ">" } else { "" }.to_owned(),
                shown(known.name.as_deref().unwrap_or("-")),
                short(&known.id),
                shown(known.address.as_deref().unwrap_or("-")),
                shown(&known.cluster),
                shown(&known.state),
            ]);
        }
        Ok(write!(out, "{}", table(&rows, out.paint))?)
    }

    async fn verb(&mut self, words: &[Word], out: &mut Out) -> Result<(), Failure> {
        if words[0].text == "put" && words.iter().any(|word| word.raw == "-") {
            let next = "write the value, name a file as @FILE, or use `roundel put KEY -`";
            return Err(Failure::usage(
                "in a shell no value is read from the input",
                next,
            ));
        }
        let mut texts: Vec<String> = words.iter().map(|word| word.text.clone()).collect();
        // A value in double quotes is a JSON text, not the number that may be in it.
        if let ("put", [_, _, .., last]) = (words[0].text.as_str(), words)
            && last.raw.starts_with('"')
        {
            texts.pop();
            texts.push(last.raw.clone());
        }
        let elsewhere = texts.iter().any(|text| text.starts_with("--node"));
        let mut verb = match Verb::try_parse_from(texts) {
            Ok(verb) => verb,
            Err(error) if !error.use_stderr() => return Ok(write!(out, "{error}")?),
            Err(error) => {
                let text = error.to_string();
                let what = text
                    .lines()
                    .next()
                    .unwrap_or("")
                    .trim_start_matches("error: ");
                let next = format!("`{} --help` shows what it takes", words[0].text);
                return Err(Failure::usage(what, next));
            }
        };
        let address = self.client().await?.address();
        let client = verb.client();
        if !elsewhere {
            client.node = Some(address.to_string());
            if client.tls == Tls::Off {
                client.tls = self.args.tls;
            }
        }
        if client.key_file.is_none() && client.token.is_none() {
            client.key_file = self.args.key_file.clone();
            client.token = self.args.token.clone();
        }
        client.json |= self.args.json;
        match verb {
            Verb::Put(args) => put::run(args, out).await,
            Verb::Get(args) => get::run(args, out).await,
            Verb::Remove(args) => remove::run(args, out).await,
            Verb::Scan(args) => list::run(args, pages::Method::Scan, out).await,
            Verb::Status(args) => status::run(args, out).await,
            Verb::Ring(args) => ring::run(args, out).await,
            Verb::Nodes(args) => nodes::run(args, out).await,
        }
    }

    fn unknown(&self, name: &str) -> Failure {
        if self.methods.find(name).is_some() {
            let next = format!("write {name}(), with the params between the brackets");
            return Failure::usage(format!("'{name}' is a method, called with brackets"), next);
        }
        let names = COMMANDS.iter().copied().chain(self.methods());
        let next = match nearest(name, names) {
            Some(near) => format!("did you mean '{near}'? `help` lists the commands"),
            None => "`help` lists the commands, `help methods` the methods".to_owned(),
        };
        Failure::usage(format!("no command '{}' is known", shown(name)), next)
    }

    fn help(&self, about: Option<&str>, out: &mut Out) -> Result<(), Failure> {
        let Some(name) = about else {
            return Ok(write!(out, "{HELP}")?);
        };
        if name == "methods" {
            let rows: Vec<Vec<String>> = std::iter::once(["METHOD", "WHAT IT DOES"])
                .chain(self.methods.methods().iter().map(|it| [it.name, it.doc]))
                .map(|row| row.map(str::to_owned).to_vec())
                .collect();
            return Ok(write!(out, "{}", table(&rows, out.paint))?);
        }
        if let Some(method) = self.methods.find(name) {
            return Ok(writeln!(out, "{}", explained(method))?);
        }
        if COMMANDS.contains(&name) {
            return Ok(write!(out, "{HELP}")?);
        }
        Err(self.unknown(name))
    }
}

impl Verb {
    fn client(&mut self) -> &mut ClientArgs {
        match self {
            Verb::Put(args) => &mut args.client,
            Verb::Get(args) => &mut args.client,
            Verb::Remove(args) => &mut args.client,
            Verb::Scan(args) => &mut args.client,
            Verb::Status(args) => &mut args.client,
            Verb::Ring(args) => &mut args.client,
            Verb::Nodes(args) => &mut args.client,
        }
    }
}

/// It cannot be a board's name only: it has the signs of an address.
fn is_address(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost"
}

/// What a method takes and answers, in words.
fn explained(method: &Method) -> String {
    let params: &[Param] = match method.takes {
        Takes::Params(params) => params,
        Takes::Anything => &[],
    };
    let names: Vec<&str> = params.iter().map(|param| param.name).collect();
    let names = match method.takes {
        Takes::Anything => "anything".to_owned(),
        Takes::Params(_) => names.join(", "),
    };
    let mut text = format!("{}({names})\n  {}\n", method.name, method.doc);
    for param in params {
        let optional = if param.required {
            ""
        } else {
            ", may be left out"
        };
        text.push_str(&format!("  {}: {}{optional}\n", param.name, param.kind));
    }
    text.push_str(&format!("  answers {}", method.result));
    text
}
