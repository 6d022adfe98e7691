//! The page's document: the template with the board's state written into it as text.
//!
//! Whatever comes from the network is escaped here; the template holds the only markup.

use std::borrow::Cow;
use std::fmt::Write;

use crate::base::access::Access;
use crate::base::call::{MemberView, Overview};
use crate::base::endpoint::Name;
use crate::base::member::RingMode;
use crate::base::problem::Problem;
use crate::service::Facts;
use crate::service::method::standing;

/// Marks `{{name}}` are replaced.
pub(super) const TEMPLATE: &str = include_str!("assets/page.html");

/// The document of a board; without an overview it says that the board is starting.
pub(super) fn of(facts: &Facts, access: Access, overview: Option<&Overview>) -> String {
    let mut page = String::with_capacity(TEMPLATE.len() + 8 * 1_024);
    let mut rest = TEMPLATE;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after
            .split_once("}}")
            .expect("every mark of the template is closed");
        page.push_str(before);
        match name {
            // Where it says more later nothing moves.
            "banner" => page.push_str(banner(access)),
            "problems" => problems(&mut page, &facts.problems),
            name => fill(&mut page, name, facts, overview),
        }
        rest = after;
    }
    page.push_str(rest);
    page
}

fn fill(page: &mut String, name: &str, facts: &Facts, overview: Option<&Overview>) {
    let text = |page: &mut String, text: &str| page.push_str(&escaped(text));
    match (name, overview) {
        ("name", _) => text(page, facts.name.as_str()),
        ("version", _) => text(page, &facts.version),
        ("cluster", _) => text(page, facts.cluster_name.as_str()),
        ("ring", Some(overview)) => text(page, &ring(overview)),
        ("unplug", Some(overview)) => text(page, &unplug(overview)),
        ("store", Some(overview)) => text(page, &overview.health.store),
        ("wrong", Some(overview)) => wrong(page, &overview.health.problems),
        ("boards", Some(overview)) => {
            let members = overview.members.iter();
            members.for_each(|member| row(page, overview, member));
        }
        ("ring" | "unplug" | "store" | "wrong", None) => page.push_str("the board is starting"),
        ("boards", None) => {}
        (other, _) => unreachable!("the template names {other}, which nobody fills"),
    }
}

/// Whom the ring trusts, where that needs saying; `assets/key.js` says it in the same words.
fn banner(access: Access) -> &'static str {
    match access {
        Access::Keyed => "",
        Access::Provisional => {
            "<div data-tone=\"warn\"><p>This ring trusts everyone on this LAN until you confirm \
             it.</p></div>"
        }
        Access::Open => {
            "<div data-tone=\"bad\"><p>This ring is open: whoever reaches it may change \
             everything in it.</p></div>"
        }
    }
}

/// What was wrong at the board's start; `assets/health.js` writes it likewise.
fn problems(page: &mut String, problems: &[Problem]) {
    for problem in problems {
        let text = problem.to_string();
        write!(
            page,
            "<div data-tone=\"bad\"><p>{}</p></div>",
            escaped(&text)
        )
        .expect(WRITES);
    }
}

fn ring(overview: &Overview) -> String {
    let absent = overview.members.iter().filter(|it| !it.alive).count();
    let boards = match overview.members.len() {
        0 => return "none yet".to_owned(),
        1 => "1 board".to_owned(),
        n => format!("{n} boards"),
    };
    let near = match overview.cluster.as_ref().map(|cluster| cluster.mode) {
        Some(RingMode::Partial) => " (this one and its neighbours)",
        _ => "",
    };
    match absent {
        0 => format!("{boards}{near}, all present"),
        n => format!("{boards}{near}, {n} absent"),
    }
}

fn unplug(overview: &Overview) -> String {
    match overview.health.unplug_reason.as_str() {
        _ if overview.health.safe_to_unplug => "yes".to_owned(),
        "" => "no".to_owned(),
        reason => format!("no: {reason}"),
    }
}

fn wrong(page: &mut String, problems: &[String]) {
    if problems.is_empty() {
        page.push_str("nothing");
    }
    for problem in problems {
        write!(page, "<p>{}</p>", escaped(problem)).expect(WRITES);
    }
}

/// A line of the table; its cells are those of the head, in order, as far as this board knows.
fn row(page: &mut String, overview: &Overview, member: &MemberView) {
    let name = member.name.as_ref().map(Name::as_str);
    let short = member.id.short();
    let this = if member.id == overview.id {
        " (this board)"
    } else {
        ""
    };
    let address = member
        .endpoint
        .map_or_else(|| "unknown".to_owned(), |it| it.to_string());
    let state = match (member.alive, member.suspect) {
        (false, _) => "absent",
        (true, true) => "suspected",
        (true, false) => match standing(member.standing) {
            "member" => member.state().as_str(),
            other => other,
        },
    };
    writeln!(
        page,
        "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">{}{this}</th>\
         <td role=\"cell\" data-head=\"State\">{state}</td>\
         <td role=\"cell\" data-head=\"Address\">{address}</td>\
         <td role=\"cell\" data-head=\"Id\" class=\"mono\">{short}</td>\
         <td role=\"cell\" data-head=\"Version\">{}</td></tr>",
        escaped(name.unwrap_or(&short)),
        escaped(member.version.as_deref().unwrap_or("–")),
    )
    .expect(WRITES);
}

const WRITES: &str = "a String takes all that is written";

/// The text with everything that could be markup spelt out.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_markup_is_spelt_out() {
        let hostile = "<img src=x onerror=\"a('b')\">&";
        let safe = "&lt;img src=x onerror=&quot;a(&#39;b&#39;)&quot;&gt;&amp;";
        assert_eq!(escaped(hostile), safe);
        assert_eq!(escaped("calm-heron"), "calm-heron");
    }

    #[test]
    fn every_problem_is_a_paragraph_of_text() {
        let mut page = String::new();
        wrong(&mut page, &["<b>".to_owned(), "full".to_owned()]);
        assert_eq!(page, "<p>&lt;b&gt;</p><p>full</p>");
        page.clear();
        wrong(&mut page, &[]);
        assert_eq!(page, "nothing");
        page.clear();
        let problem = Problem::of_file("<a>", Some(2), "b", "c");
        problems(&mut page, &[problem]);
        let row = "<div data-tone=\"bad\"><p>&lt;a&gt;, line 2: b; c</p></div>";
        assert_eq!(page, row);
    }
}
