//! Checks the built pages: each link leads to a page that exists and to an id on it, and reading a page needs no other server.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts, states::RawKind,
};

/// The files of a site, by their path in it.
pub struct Site {
    /// Where the site is on its server, such as `/container-patch-policy/`.
    base: String,
    pages: BTreeMap<String, Page>,
    /// All files, with the pages among them.
    files: HashSet<String>,
}

/// What a page has of links and their targets.
#[derive(Default)]
struct Page {
    ids: HashSet<String>,
    links: Vec<Link>,
    /// The address that relative links begin at, if it is not that of the page.
    base: Option<String>,
}

struct Link {
    /// The tag with the link, such as `img`.
    tag: String,
    address: String,
}

impl Site {
    /// Reads all files in a folder.
    pub fn read(folder: &Path, base: &str) -> Result<Site> {
        let mut site = Site { base: base.to_owned(), pages: BTreeMap::new(), files: HashSet::new() };
        site.read_folder(folder, "")?;
        Ok(site)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
            if path.is_dir() {
                self.read_folder(&path, &format!("{name}/"))?;
                continue;
            }
            if name.ends_with(".html") {
                let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                self.pages.insert(name.clone(), Page::parse(&text));
            }
            self.files.insert(name);
        }
        Ok(())
    }

    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    pub fn links(&self) -> usize {
        self.pages.values().map(|page| page.links.len()).sum()
    }

    /// One line for each link that leads nowhere, and for each file that a page loads from another server.
    pub fn problems(&self) -> Vec<String> {
        let problem = |name: &String, page: &Page, link: &Link| {
            self.problem(name, page, link).map(|problem| format!("{name}: {}: {problem}", link.address))
        };
        self.pages
            .iter()
            .flat_map(|(name, page)| page.links.iter().filter_map(move |link| problem(name, page, link)))
            .collect()
    }

    fn problem(&self, name: &str, page: &Page, link: &Link) -> Option<String> {
        let address = &link.address;
        if let Some((scheme, _)) = address.split_once(':')
            && !scheme.contains(['/', '#', '?'])
        {
            let is_loaded = link.tag != "a" && scheme != "data";
            return is_loaded.then(|| format!("<{}> loads a file from another server", link.tag));
        }
        let (path, id) = address.split_once('#').unwrap_or((address, ""));
        let target = match self.target(name, page, path) {
            Ok(target) => target,
            Err(problem) => return Some(problem),
        };
        if !self.files.contains(&target) {
            return Some(format!("{target} does not exist"));
        }
        let has_id = id.is_empty() || self.pages.get(&target).is_none_or(|page| page.ids.contains(id));
        (!has_id).then(|| format!("{target} has no id `{id}`"))
    }

    /// The file that an address on a page means.
    fn target(&self, name: &str, page: &Page, address: &str) -> Result<String, String> {
        let address = address.split('?').next().unwrap_or_default();
        if address.is_empty() {
            return Ok(name.to_owned());
        }
        let absolute = if address.starts_with('/') {
            address.to_owned()
        } else {
            let page_address = format!("{}{name}", self.base);
            let from = page.base.as_ref().unwrap_or(&page_address);
            let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{address}")
        };
        let mut parts: Vec<&str> = Vec::new();
        for part in absolute.split('/').skip(1) {
            match part {
                "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        let absolute = format!("/{}", parts.join("/"));
        let Some(path) = absolute.strip_prefix(&self.base) else {
            return Err(format!("leads out of the site, which is at {}", self.base));
        };
        Ok(if path.is_empty() || path.ends_with('/') { format!("{path}index.html") } else { path.to_owned() })
    }
}

impl Page {
    fn parse(text: &str) -> Page {
        let tokenizer = Tokenizer::new(Sink::default(), TokenizerOpts::default());
        let input = BufferQueue::default();
        input.push_back(StrTendril::from(text));
        let _ = tokenizer.feed(&input);
        tokenizer.end();
        tokenizer.sink.page.into_inner()
    }
}

#[derive(Default)]
struct Sink {
    page: RefCell<Page>,
}

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let Token::TagToken(tag @ Tag { kind: TagKind::StartTag, .. }) = token else {
            return TokenSinkResult::Continue;
        };
        let mut page = self.page.borrow_mut();
        for attribute in &tag.attrs {
            let value = attribute.value.to_string();
            match (&*tag.name, &*attribute.name.local) {
                ("base", "href") => page.base = Some(value),
                (_, "id") | ("a", "name") => {
                    page.ids.insert(value);
                }
                (name, "href" | "src") => page.links.push(Link { tag: name.to_owned(), address: value }),
                _ => {}
            }
        }
        // The tokenizer does not know by itself that scripts are not HTML.
        match &*tag.name {
            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
            "style" => TokenSinkResult::RawData(RawKind::Rawtext),
            _ => TokenSinkResult::Continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(pages: &[(&str, &str)]) -> Vec<String> {
        let pages: BTreeMap<_, _> = pages.iter().map(|(name, text)| ((*name).to_owned(), Page::parse(text))).collect();
        let files = pages.keys().cloned().chain(["picture.svg".to_owned()]).collect();
        Site { base: "/site/".to_owned(), pages, files }.problems()
    }

    #[test]
    fn links_to_pages_ids_and_files_of_the_site_are_no_problem() {
        let index = r##"<h1 id="top">x</h1><a href="#top">a</a> <a href="cookbook/a.html#b">b</a> <img src="picture.svg">
            <a href="https://example.com/">c</a> <a href="cookbook/../index.html">d</a>"##;
        let page = r#"<p id="b"></p><a href="../">e</a> <a href="../index.html#top">f</a> <a href="/site/">g</a>"#;
        assert_eq!(problems(&[("index.html", index), ("cookbook/a.html", page)]), [""; 0]);
    }

    #[test]
    fn a_link_to_a_missing_page_or_id_is_a_problem() {
        let found = problems(&[("index.html", r##"<a href="a.html">a</a> <a href="#b">b</a> <img src="c.png">"##)]);
        let expected = [
            "index.html: a.html: a.html does not exist",
            "index.html: #b: index.html has no id `b`",
            "index.html: c.png: c.png does not exist",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_link_out_of_the_site_is_a_problem() {
        let found = problems(&[("index.html", r#"<a href="../other.html">a</a>"#)]);
        assert_eq!(found, ["index.html: ../other.html: leads out of the site, which is at /site/"]);
    }

    #[test]
    fn a_file_of_another_server_is_a_problem() {
        let found = problems(&[("index.html", r#"<script src="https://cdn.example.com/a.js"></script>"#)]);
        assert_eq!(found, ["index.html: https://cdn.example.com/a.js: <script> loads a file from another server"]);
    }

    #[test]
    fn the_base_of_a_page_applies_to_its_links() {
        let pages = [("404.html", r#"<base href="/site/"><a href="a.html">a</a>"#), ("a.html", "")];
        assert_eq!(problems(&pages), [""; 0]);
    }

    #[test]
    fn links_in_scripts_are_not_read() {
        assert_eq!(problems(&[("index.html", r#"<script>let a = '<a href="b.html">';</script>"#)]), [""; 0]);
    }
}
