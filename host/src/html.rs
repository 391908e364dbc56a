//! Pages without external resources, for a browser or for printing. The policy for content allows only the style and the script of the page.

mod escape;

use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

pub(crate) use self::escape::{escaped, with_code};
use crate::timestamp::rfc3339;

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// A page up to its first paragraph, which begins with `about`. `title` and `about` are HTML. `style` is what this page has besides the
/// common style.
pub(crate) fn head(title: &str, style: &str, about: &str) -> String {
    let style = STYLE.to_owned() + style;
    let [style_hash, script_hash] = [&style, SCRIPT].map(|text| STANDARD.encode(Sha256::digest(text)));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{style_hash}'; \
         script-src 'sha256-{script_hash}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n\
         <p class=\"muted\">{about}, by container-patch {}.</p>\n",
        env!("CARGO_PKG_VERSION"),
    )
}

/// A time to the minute.
pub(crate) fn time(time: &DateTime<Utc>) -> String {
    let exact = rfc3339(time);
    format!("<time datetime=\"{exact}\">{}</time>", time.format("%Y-%m-%d %H:%M UTC"))
}

/// The end of a page. `note` is HTML.
pub(crate) fn foot(note: &str) -> String {
    format!("<footer><p>{note}</p></footer>\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n")
}

/// A number with its label, in a row of them at the top of a page. `class` is its colour; a zero has none, since it needs no attention.
pub(crate) fn card(class: &str, number: impl Display, label: &str) -> String {
    let number = number.to_string();
    let class = if number == "0" { "" } else { class };
    format!("<li class=\"panel {class}\"><strong>{number}</strong><span>{label}</span></li>\n")
}
