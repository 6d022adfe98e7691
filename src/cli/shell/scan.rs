//! Splits what is typed into commands and words.
//!
//! A command ends at a line end or a `;` outside of brackets and quotes; `#` at the start of a
//! word begins a comment. Quotes count at the start of a word and within brackets, so that
//! `it's` is a word. Pure; no text makes it panic.

/// A place in the text, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

/// A whole command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins.
    pub start: Place,
    /// The command, without blanks around it and without its end.
    pub text: String,
}

/// Takes text as it comes and gives commands as they are whole.
#[derive(Debug)]
pub struct Splitter {
    walk: Walk,
    at: Place,
    /// Where the command began that is not whole yet.
    start: Place,
    current: String,
    /// Blanks after it, which belong to it if something follows.
    blanks: String,
}

/// A word of a plain command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Bytes before it in the command.
    pub start: usize,
    /// As it was typed, quotes included.
    pub raw: String,
    /// What it means.
    pub text: String,
}

/// What stands at a place that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Part of a word.
    Inside,
    /// A blank, or part of a comment.
    Blank,
    /// The end of a command.
    End,
}

/// What is open at a place of the text.
#[derive(Debug, Default)]
struct Walk {
    brackets: Vec<Place>,
    quote: Option<(char, Place)>,
    escaped: bool,
    comment: bool,
    /// Within a word.
    word: bool,
}

impl Walk {
    fn step(&mut self, at: Place, c: char) -> Step {
        if self.comment {
            self.comment = c != '\n';
            return if self.comment { Step::Blank } else { Step::End };
        }
        if let Some((quote, _)) = self.quote {
            match c {
                _ if std::mem::take(&mut self.escaped) => {}
                '\\' if quote == '"' => self.escaped = true,
                c if c == quote => self.quote = None,
                _ => {}
            }
            return Step::Inside;
        }
        let within = !self.brackets.is_empty();
        let fresh = !std::mem::replace(&mut self.word, true);
        match c {
            '"' if within || fresh => self.quote = Some((c, at)),
            '\'' if !within && fresh => self.quote = Some((c, at)),
            '(' | '[' | '{' => self.brackets.push(at),
            ')' | ']' | '}' if within => {
                self.brackets.pop();
            }
            '#' if !within && fresh => {
                self.comment = true;
                self.word = false;
                return Step::Blank;
            }
            '\n' | ';' if !within => {
                self.word = false;
                return Step::End;
            }
            c if !within && c.is_whitespace() => {
                self.word = false;
                return Step::Blank;
            }
            _ => {}
        }
        Step::Inside
    }

    /// The first bracket or quote that is not closed.
    fn open(&self) -> Option<Place> {
        let bracket = self.brackets.first().copied();
        bracket.or(self.quote.map(|(_, place)| place))
    }
}

impl Default for Splitter {
    fn default() -> Self {
        let first = Place { line: 1, column: 1 };
        Splitter {
            walk: Walk::default(),
            at: first,
            start: first,
            current: String::new(),
            blanks: String::new(),
        }
    }
}

impl Splitter {
    /// Takes more text; gives the commands that it makes whole.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        let mut whole = Vec::new();
        for c in text.chars() {
            match self.walk.step(self.at, c) {
                Step::Inside => {
                    if self.current.is_empty() {
                        self.start = self.at;
                        self.blanks.clear();
                    }
                    self.current.push_str(&self.blanks);
                    self.blanks.clear();
                    self.current.push(c);
                }
                Step::Blank => self.blanks.push(c),
                Step::End => whole.extend(self.piece()),
            }
            match c {
                '\n' => {
                    self.at.line += 1;
                    self.at.column = 1;
                }
                _ => self.at.column += 1,
            }
        }
        whole
    }

    /// Where a bracket or a quote is open, so that more text must come.
    pub fn open(&self) -> Option<Place> {
        self.walk.open()
    }

    /// Bytes of the command that is not whole yet.
    pub fn bytes(&self) -> usize {
        self.current.len() + self.blanks.len()
    }

    /// The text ends here: the last command, if its brackets and quotes are closed.
    ///
    /// # Errors
    /// The place of what is open.
    pub fn finish(mut self) -> Result<Option<Piece>, Place> {
        match self.open() {
            Some(place) => Err(place),
            None => Ok(self.piece()),
        }
    }

    fn piece(&mut self) -> Option<Piece> {
        self.blanks.clear();
        let text = std::mem::take(&mut self.current);
        let start = self.start;
        (!text.is_empty()).then_some(Piece { start, text })
    }
}

impl Piece {
    /// The place of a column of this command, as [`super::parse::ParseError`] counts it.
    pub fn place(&self, column: usize) -> Place {
        let mut place = self.start;
        for c in self.text.chars().take(column.saturating_sub(1)) {
            match c {
                '\n' => {
                    place.line += 1;
                    place.column = 1;
                }
                _ => place.column += 1,
            }
        }
        place
    }
}

/// The words of a plain command.
pub fn words(command: &str) -> Vec<Word> {
    let mut walk = Walk::default();
    let nowhere = Place { line: 1, column: 1 };
    let mut words = Vec::new();
    let mut start: Option<usize> = None;
    for (at, c) in command.char_indices() {
        match (walk.step(nowhere, c), start) {
            (Step::Inside, None) => start = Some(at),
            (Step::Inside, Some(_)) | (_, None) => {}
            (_, Some(begun)) => {
                words.push(word(begun, &command[begun..at]));
                start = None;
            }
        }
    }
    words.extend(start.map(|begun| word(begun, &command[begun..])));
    words
}

fn word(start: usize, raw: &str) -> Word {
    let literal = raw
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''));
    let json = || serde_json::from_str::<String>(raw).ok();
    let text = literal.map(str::to_owned).or_else(json);
    Word {
        start,
        raw: raw.to_owned(),
        text: text.unwrap_or_else(|| raw.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(text: &str) -> Vec<String> {
        let mut splitter = Splitter::default();
        let mut pieces = splitter.push(text);
        pieces.extend(splitter.finish().unwrap());
        pieces.into_iter().map(|piece| piece.text).collect()
    }

    fn texts(command: &str) -> Vec<String> {
        words(command).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn commands_end_at_line_ends_and_semicolons_outside_of_brackets_and_quotes() {
        assert_eq!(split("a 1; b\n\n c ;"), ["a 1", "b", "c"]);
        assert_eq!(
            split("echo({\n\"a\": \";)\"\n})"),
            ["echo({\n\"a\": \";)\"\n})"]
        );
        assert_eq!(split("put k 'a;b' ;x"), ["put k 'a;b'", "x"]);
        assert_eq!(split("a # b; c\nd#e"), ["a", "d#e"]);
        assert_eq!(split("put k it's; get k"), ["put k it's", "get k"]);
    }

    #[test]
    fn what_is_not_closed_is_left_for_more() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.push("a\n  put(\"x\",\n").len(), 1);
        assert_eq!(splitter.open(), Some(Place { line: 2, column: 6 }));
        let more = splitter.push("1); b");
        assert_eq!(more[0].text, "put(\"x\",\n1)");
        assert_eq!(more[0].start, Place { line: 2, column: 3 });
        assert_eq!(more[0].place(11), Place { line: 3, column: 2 });
        assert_eq!(splitter.finish().unwrap().unwrap().text, "b");
        let open = |text: &str| {
            let mut splitter = Splitter::default();
            splitter.push(text);
            splitter.finish().unwrap_err().column
        };
        assert_eq!(open("put k \"a\\\""), 7);
        assert_eq!(open("put k 'a"), 7);
    }

    #[test]
    fn words_are_unquoted() {
        assert_eq!(texts("put  'a b' \"c\\n\" d"), ["put", "a b", "c\n", "d"]);
        assert_eq!(
            texts("put k {\"a\": [1, 2]} x"),
            ["put", "k", "{\"a\": [1, 2]}", "x"]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_split_into_parts_of_itself(text in "[-a \n;#'\"\\\\(){}\\[\\]é]{0,60}") {
            let mut splitter = Splitter::default();
            let mut pieces = splitter.push(&text);
            pieces.extend(splitter.finish().ok().flatten());
            for piece in &pieces {
                prop_assert!(text.contains(&piece.text));
                prop_assert_eq!(piece.text.trim(), &piece.text);
                for word in words(&piece.text) {
                    prop_assert_eq!(&piece.text[word.start..][..word.raw.len()], word.raw);
                }
            }
        }

        #[test]
        fn text_in_parts_is_split_as_the_whole(text in "[a \n;\"(){}]{0,40}", cut in 0usize..41) {
            let cut = cut.min(text.len());
            let mut splitter = Splitter::default();
            let mut pieces = splitter.push(&text[..cut]);
            pieces.extend(splitter.push(&text[cut..]));
            prop_assert_eq!(pieces, Splitter::default().push(&text));
        }
    }
}
