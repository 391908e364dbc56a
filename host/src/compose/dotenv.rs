//! The files of variables that Compose reads, such as `.env`: a line `NAME=value` for each variable, with quotes, comments and
//! variables in the values.

use std::collections::BTreeMap;

use super::interpolation::{Lookup, Unset, interpolate};

/// Variables with their values, or with the reason why the value cannot be read.
pub(crate) type Values = BTreeMap<String, Result<String, String>>;

/// Reads the variables of a file into `values`, which has those of earlier files. Variables in the values are looked up in the
/// environment first, then among the variables above.
///
/// # Errors
/// When a line is invalid. The error does not show the line, which may have a secret.
pub(crate) fn read(text: &str, environment: &Lookup<'_>, values: &mut Values) -> Result<(), String> {
    let mut reader = Reader { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
    while let Some(name) = reader.name()? {
        let value = match name.end {
            End::OfLine => match environment(&name.text).transpose() {
                Some(value) => value,
                None => continue,
            },
            End::Sign => {
                let (value, expands) = reader.value()?;
                if expands { expanded(&value, environment, values) } else { Ok(value) }
            }
        };
        values.insert(name.text, value);
    }
    Ok(())
}

fn expanded(value: &str, environment: &Lookup<'_>, values: &Values) -> Result<String, String> {
    let lookup = |name: &str| match environment(name)? {
        Some(value) => Ok(Some(value)),
        None => values.get(name).cloned().transpose(),
    };
    interpolate(value, &lookup, Unset::Empty).map_err(|error| error.to_string())
}

/// A name, and what ends it.
struct Name {
    text: String,
    end: End,
}

enum End {
    /// `=` or `:`.
    Sign,
    /// The line ends: the variable has the value of the environment.
    OfLine,
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
}

impl Reader<'_> {
    /// Goes on after this number of bytes.
    fn skip(&mut self, bytes: usize) {
        let (skipped, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.line += skipped.matches('\n').count();
        self.rest = rest;
    }

    fn skip_blanks(&mut self) {
        let is_blank = |c: char| c.is_whitespace() && c != '\n';
        self.skip(self.rest.len() - self.rest.trim_start_matches(is_blank).len());
    }

    /// The next name. `None` at the end of the file.
    fn name(&mut self) -> Result<Option<Name>, String> {
        loop {
            self.skip(self.rest.len() - self.rest.trim_start().len());
            if !self.rest.starts_with('#') {
                break;
            }
            self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
        if let Some(rest) = self.rest.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])) {
            self.skip(self.rest.len() - rest.len());
            self.skip_blanks();
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let is_end = |c: char| matches!(c, '=' | ':' | '\n');
        let length = self.rest.find(is_end).unwrap_or(self.rest.len());
        let text = self.rest.get(..length).unwrap_or_default().trim_end().to_owned();
        let is_part = |c: char| c.is_alphanumeric() || "_.-[]".contains(c);
        if text.is_empty() || !text.chars().all(is_part) {
            return Err(format!("line {}: invalid name of a variable", self.line));
        }
        let has_value = self.rest.get(length..).is_some_and(|rest| rest.starts_with(['=', ':']));
        self.skip(length + usize::from(has_value));
        Ok(Some(Name { text, end: if has_value { End::Sign } else { End::OfLine } }))
    }

    /// The next value, and whether variables in it are replaced.
    fn value(&mut self) -> Result<(String, bool), String> {
        self.skip_blanks();
        match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let text = self.quoted(quote)?;
                Ok(if quote == '"' { (unescaped(&text), true) } else { (text, false) })
            }
            _ => {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                let line = self.rest.get(..end).unwrap_or_default();
                let value = line.split(" #").next().unwrap_or_default().trim_end().to_owned();
                self.skip(end);
                Ok((value, true))
            }
        }
    }

    /// The text in quotes, which may have several lines. A backslash before the quote is removed.
    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        let mut is_escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                _ if c == quote && !is_escaped => {
                    self.skip(at + 1);
                    return Ok(text);
                }
                '\\' if !is_escaped => {
                    is_escaped = true;
                    continue;
                }
                _ if is_escaped && c != quote => text.push('\\'),
                _ => {}
            }
            is_escaped = false;
            text.push(c);
        }
        Err(format!("line {}: the quote of the value is not closed", self.line))
    }
}

/// Replaces the escapes of a value in double quotes. `\$` is a dollar sign and not a variable.
fn unescaped(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        value += before;
        let mut characters = after.chars();
        let escaped = match characters.next() {
            Some('a') => "\u{7}",
            Some('b') => "\u{8}",
            Some('f') => "\u{c}",
            Some('n') => "\n",
            Some('r') => "\r",
            Some('t') => "\t",
            Some('v') => "\u{b}",
            Some('"') => "\"",
            Some('\\') => "\\",
            Some('$') => "$$",
            _ => {
                value.push('\\');
                rest = after;
                continue;
            }
        };
        value += escaped;
        rest = characters.as_str();
    }
    value + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::{Values, read};

    /// The environment has `HOST=shell`.
    fn environment(name: &str) -> Result<Option<String>, String> {
        match name {
            "HOST" => Ok(Some("shell".to_owned())),
            "TOKEN" => Err("secret".to_owned()),
            _ => Ok(None),
        }
    }

    type Value = (String, Result<String, String>);

    fn values(text: &str) -> Result<Vec<Value>, String> {
        let mut values = Values::new();
        read(text, &environment, &mut values)?;
        Ok(values.into_iter().collect())
    }

    fn value(text: &str) -> String {
        let mut found = values(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        found.remove(0).1.unwrap()
    }

    #[test]
    fn values_are_read_as_compose_reads_them() {
        for (text, expected) in [
            ("A=b", "b"),
            ("A=b\n", "b"),
            ("A=b\r\n", "b"),
            ("\u{feff}A=b", "b"),
            ("A = b ", "b"),
            ("A: b", "b"),
            ("export A=b", "b"),
            ("  # comment\n\n  A=b # comment", "b"),
            ("A=b#c", "b#c"),
            ("A=b c", "b c"),
            ("A=", ""),
            ("A=b=c", "b=c"),
            ("A='b # c'", "b # c"),
            ("A=\"b # c\" # d", "b # c"),
            ("A='$HOST \\n \\''", "$HOST \\n '"),
            ("A=\"$HOST\\n\\\"\\\\\\$HOST\"", "shell\n\"\\$HOST"),
            ("A=\"b\nc\"", "b\nc"),
            ("A=$HOST", "shell"),
            ("A=${UNSET:-d}$UNSET", "d"),
            ("A=\\d", "\\d"),
            ("A=\"\\d\"", "\\d"),
            ("HOST", "shell"),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn a_value_may_have_variables_of_the_lines_above() {
        let ok = |name: &str, value: &str| (name.to_owned(), Ok(value.to_owned()));
        assert_eq!(
            values("A=1\nB=$A\nA=2\nC=${A}$D\nD=3\nUNKNOWN\n").unwrap(),
            [ok("A", "2"), ok("B", "1"), ok("C", "2"), ok("D", "3")]
        );
        assert_eq!(values("HOST=file\nA=$HOST").unwrap(), [ok("A", "shell"), ok("HOST", "file")]);
    }

    #[test]
    fn a_value_that_cannot_be_read_is_only_an_error_of_its_variable() {
        let found = values("A=$TOKEN\nB=$A\nC=${\nD=d").unwrap();
        assert_eq!(found[0].1, Err("secret".to_owned()));
        assert_eq!(found[1].1, Err("secret".to_owned()));
        assert!(found[2].1.is_err());
        assert_eq!(found[3].1, Ok("d".to_owned()));
    }

    #[test]
    fn an_invalid_line_is_an_error_without_its_text() {
        assert_eq!(values("A=1\nsecret!=x").unwrap_err(), "line 2: invalid name of a variable");
        assert_eq!(values("A B=x").unwrap_err(), "line 1: invalid name of a variable");
        assert_eq!(values("=x").unwrap_err(), "line 1: invalid name of a variable");
        assert_eq!(values("A='1\n2'\n\nB=\"secret\n").unwrap_err(), "line 4: the quote of the value is not closed");
    }

    #[test]
    fn values_that_expand_without_end_are_errors() {
        let mut text = "A0=aaaaaaaaaa\n".to_owned();
        for level in 1..30 {
            text += &format!("A{level}=$A{0}$A{0}$A{0}$A{0}\n", level - 1);
        }
        assert!(values(&text).unwrap().iter().any(|(_, value)| value.is_err()));
    }

    proptest! {
        #[test]
        fn any_text_has_values_or_an_error(text in "([A-C=: #'\"$\\\\\n]|.|export ){0,60}") {
            let _ = values(&text);
        }

        #[test]
        fn any_text_in_single_quotes_is_a_value(text in "[^'\\\\]{0,40}") {
            prop_assert_eq!(value(&format!("A='{text}'")), text);
        }
    }
}
