//! Variables in the values of Compose files: `$NAME`, `${NAME}`, and with an operator `${NAME:-default}`, `${NAME-default}`,
//! `${NAME:?message}`, `${NAME?message}`, `${NAME:+replacement}` and `${NAME+replacement}`. The text after an operator may have variables
//! itself. `$$` is a dollar sign.

use std::fmt;

/// The most levels of variables in the text after an operator.
const MAX_DEPTH: usize = 32;

/// The longest value in bytes. Variables of `.env` can expand to a huge text.
const MAX_LENGTH: usize = 64 << 10;

/// Why a value has no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Error {
    /// A variable without a default is not set.
    Unset(String),
    /// A variable that must be set is not set, or is empty, with the message of the file.
    Required(String, String),
    /// The variable cannot be read.
    Unreadable(String),
    /// The text after a dollar sign is not a variable.
    Syntax,
    /// The text has more than [`MAX_LENGTH`] bytes or [`MAX_DEPTH`] levels.
    TooLong,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset(name) => write!(
                f,
                "the variable `{name}` is not set; set it in the environment or in .env, or write a default: `${{{name}:-default}}`"
            ),
            Self::Required(name, message) if message.is_empty() => write!(f, "the variable `{name}` is required"),
            Self::Required(name, message) => write!(f, "the variable `{name}` is required: {message}"),
            Self::Unreadable(reason) => f.write_str(reason),
            Self::Syntax => f.write_str("invalid variable; expected `$NAME` or `${NAME}`, or `$$` for a dollar sign"),
            Self::TooLong => write!(f, "its variables expand to more than {MAX_LENGTH} bytes or {MAX_DEPTH} levels"),
        }
    }
}

/// What a variable without a value and without a default is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unset {
    /// An error.
    Refused,
    /// An empty text, as in Compose.
    Empty,
}

/// The value of a variable: `None` if it is not set, or the reason why it cannot be read.
pub(crate) type Lookup<'l> = dyn Fn(&str) -> Result<Option<String>, String> + 'l;

/// Whether a text has variables, or dollar signs that are written as `$$`.
pub(crate) fn has_variables(text: &str) -> bool {
    text.contains('$')
}

/// Replaces the variables of a text by their values.
pub(crate) fn interpolate(text: &str, lookup: &Lookup<'_>, unset: Unset) -> Result<String, Error> {
    replaced(text, lookup, unset, 0)
}

fn replaced(text: &str, lookup: &Lookup<'_>, unset: Unset, depth: usize) -> Result<String, Error> {
    if depth > MAX_DEPTH {
        return Err(Error::TooLong);
    }
    let mut value = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        value += before;
        if let Some(after) = after.strip_prefix('$') {
            value.push('$');
            rest = after;
        } else if let Some(braced) = after.strip_prefix('{') {
            let end = end_of_braces(braced).ok_or(Error::Syntax)?;
            value += &in_braces(braced.get(..end).unwrap_or_default(), lookup, unset, depth)?;
            rest = braced.get(end + 1..).unwrap_or_default();
        } else {
            let (name, after) = split_name(after).ok_or(Error::Syntax)?;
            value += &plain(name, lookup, unset)?;
            rest = after;
        }
        if value.len() > MAX_LENGTH {
            return Err(Error::TooLong);
        }
    }
    value += rest;
    if value.len() > MAX_LENGTH { Err(Error::TooLong) } else { Ok(value) }
}

/// The place of the brace that ends a variable.
fn end_of_braces(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    let mut previous = b' ';
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if previous == b'$' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
        previous = byte;
    }
    None
}

/// The name of a variable at the beginning of a text, and the text after it.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let is_part = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let end = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then_some((name, rest))
}

fn plain(name: &str, lookup: &Lookup<'_>, unset: Unset) -> Result<String, Error> {
    match (lookup(name).map_err(Error::Unreadable)?, unset) {
        (Some(value), _) => Ok(value),
        (None, Unset::Empty) => Ok(String::new()),
        (None, Unset::Refused) => Err(Error::Unset(name.to_owned())),
    }
}

/// The value of a variable in braces. The text after an operator only matters if it is used.
fn in_braces(text: &str, lookup: &Lookup<'_>, unset: Unset, depth: usize) -> Result<String, Error> {
    let (name, rest) = split_name(text).ok_or(Error::Syntax)?;
    let (operator, ignores_empty) = match rest.strip_prefix(':') {
        Some(operator) => (operator, true),
        None => (rest, false),
    };
    if rest.is_empty() {
        return plain(name, lookup, unset);
    }
    let value = lookup(name).map_err(Error::Unreadable)?.filter(|value| !(ignores_empty && value.is_empty()));
    let mut characters = operator.chars();
    let operator = characters.next().ok_or(Error::Syntax)?;
    let argument = characters.as_str();
    let argument = || replaced(argument, lookup, unset, depth + 1);
    match (operator, value) {
        ('-' | '?', Some(value)) => Ok(value),
        ('-', None) | ('+', Some(_)) => argument(),
        ('+', None) => Ok(String::new()),
        ('?', None) => Err(Error::Required(name.to_owned(), argument().unwrap_or_default())),
        _ => Err(Error::Syntax),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::{Error, MAX_LENGTH, Unset, has_variables, interpolate};

    /// `SET` is `set`, `EMPTY` is empty, `LONG` is long, `HIDDEN` cannot be read, and other variables are not set.
    fn lookup(name: &str) -> Result<Option<String>, String> {
        match name {
            "SET" | "_S3t" => Ok(Some("set".to_owned())),
            "EMPTY" => Ok(Some(String::new())),
            "LONG" => Ok(Some("l".repeat(MAX_LENGTH / 2))),
            "HIDDEN" => Err("hidden".to_owned()),
            _ => Ok(None),
        }
    }

    fn of(text: &str) -> Result<String, Error> {
        interpolate(text, &lookup, Unset::Refused)
    }

    #[test]
    fn variables_are_replaced_as_the_compose_specification_says() {
        for (text, expected) in [
            ("no variable", "no variable"),
            ("", ""),
            ("$SET", "set"),
            ("a:$SET-b", "a:set-b"),
            ("${SET}", "set"),
            ("${_S3t}x", "setx"),
            ("${EMPTY}", ""),
            // A default if the variable is unset or empty, or only if it is unset.
            ("${SET:-default}", "set"),
            ("${EMPTY:-default}", "default"),
            ("${UNSET:-default}", "default"),
            ("${SET-default}", "set"),
            ("${EMPTY-default}", ""),
            ("${UNSET-default}", "default"),
            ("${UNSET:-}", ""),
            ("${UNSET-}", ""),
            // An error if the variable is unset or empty, or only if it is unset.
            ("${SET:?error}", "set"),
            ("${SET?error}", "set"),
            ("${EMPTY?error}", ""),
            // A replacement if the variable is set and not empty, or if it is set.
            ("${SET:+other}", "other"),
            ("${EMPTY:+other}", ""),
            ("${UNSET:+other}", ""),
            ("${SET+other}", "other"),
            ("${EMPTY+other}", "other"),
            ("${UNSET+other}", ""),
            // Variables in the text after an operator.
            ("${UNSET:-$SET}", "set"),
            ("${UNSET:-${SET}}", "set"),
            ("${UNSET-a${EMPTY:-${SET}-${SET}}}.", "aset-set."),
            ("${UNSET:-${OTHER:-a}}-${UNSET:-b}", "a-b"),
            ("${SET:+${SET}2}", "set2"),
            // The first operator counts.
            ("${UNSET:-1.4:-x?y}", "1.4:-x?y"),
            ("${UNSET-a:?b}", "a:?b"),
            ("${UNSET-a+b}", "a+b"),
            ("${SET:+a:-b}", "a:-b"),
            ("${SET?a-b}", "set"),
            // What is not used has no effect.
            ("${SET:-${UNSET}}", "set"),
            ("${SET:-${HIDDEN}}", "set"),
            ("${UNSET:+${OTHER:?error}}", ""),
            // Dollar signs.
            ("$$", "$"),
            ("$$SET", "$SET"),
            ("$${SET}", "${SET}"),
            ("$$$SET", "$set"),
            ("${UNSET:-$$x}", "$x"),
            ("é$SET", "éset"),
        ] {
            assert_eq!(of(text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_variable_that_is_not_set_is_an_error_with_its_name() {
        let unset = |name: &str| Err(Error::Unset(name.to_owned()));
        assert_eq!(of("web:$TAG"), unset("TAG"));
        assert_eq!(of("web:${TAG}"), unset("TAG"));
        assert_eq!(of("${UNSET:-$TAG}"), unset("TAG"));
        assert_eq!(interpolate("web:$TAG", &lookup, Unset::Empty), Ok("web:".to_owned()));
        assert_eq!(
            of("$TAG").unwrap_err().to_string(),
            "the variable `TAG` is not set; set it in the environment or in .env, or write a default: `${TAG:-default}`"
        );
    }

    #[test]
    fn a_required_variable_that_is_not_set_is_an_error_with_the_message_of_the_file() {
        let error = |text| of(text).unwrap_err().to_string();
        assert_eq!(error("${UNSET:?set the tag}"), "the variable `UNSET` is required: set the tag");
        assert_eq!(error("${EMPTY:?set the ${SET}}"), "the variable `EMPTY` is required: set the set");
        assert_eq!(error("${UNSET?}"), "the variable `UNSET` is required");
        assert_eq!(error("${UNSET?not-set}"), "the variable `UNSET` is required: not-set");
    }

    #[test]
    fn what_is_not_a_variable_after_a_dollar_sign_is_an_error() {
        for text in [
            "$",
            "a$",
            "$}",
            "$1",
            "$-",
            "${",
            "${}",
            "${ }",
            "${ SET}",
            "${SET }",
            "${SET!}",
            "${SET:}",
            "${SET:=a}",
            "${1}",
            "${SET:-${SET}",
        ] {
            assert_eq!(of(text), Err(Error::Syntax), "{text}");
        }
    }

    #[test]
    fn a_variable_that_cannot_be_read_is_an_error_if_its_value_counts() {
        for text in ["$HIDDEN", "${HIDDEN:-a}", "${HIDDEN:+a}", "${UNSET:-$HIDDEN}"] {
            assert_eq!(of(text), Err(Error::Unreadable("hidden".to_owned())), "{text}");
        }
    }

    #[test]
    fn levels_and_length_are_bounded() {
        assert_eq!(of(&format!("{}a{}", "${UNSET:-".repeat(5_000), "}".repeat(5_000))), Err(Error::TooLong));
        assert_eq!(of("$LONG$LONG$LONG"), Err(Error::TooLong));
        assert_eq!(of(&format!("{}$LONG", "a".repeat(MAX_LENGTH))), Err(Error::TooLong));
    }

    proptest! {
        #[test]
        fn any_text_has_a_value_or_an_error_and_one_without_variables_stays(text in "([${}:?+-]|SET|UNSET|é|.){0,40}") {
            let value = of(&text);
            if !has_variables(&text) {
                prop_assert_eq!(value, Ok(text));
            }
        }

        #[test]
        fn any_text_in_which_dollar_signs_are_doubled_stays(text in ".{0,40}") {
            prop_assert_eq!(of(&text.replace('$', "$$")), Ok(text));
        }
    }
}
