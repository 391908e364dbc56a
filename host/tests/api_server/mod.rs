//! An API server that tests play on loopback.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

/// A request to the API server.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Method, path and query, with the parameters by name.
    pub(crate) line: String,
    pub(crate) authorization: String,
    pub(crate) body: Value,
}

/// An API server, and a kubeconfig for it.
pub(crate) struct ApiServer {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    pub(crate) folder: TempDir,
}

impl ApiServer {
    /// An API server with these answers, each a status and a body. Without an answer the client waits.
    pub(crate) fn with_answers(answers: impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address").to_string();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (memory, answers) = (Arc::clone(&asked), Arc::new(answers));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (memory, answers) = (Arc::clone(&memory), Arc::clone(&answers));
                thread::spawn(move || serve(stream, &memory, &*answers));
            }
        });
        let server = Self { address, asked, folder: tempfile::tempdir().unwrap() };
        std::fs::write(server.kubeconfig(), server.kubeconfig_text()).unwrap();
        server
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    pub(crate) fn kubeconfig_text(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters:\n- name: test\n  cluster: {{server: 'http://{}'}}\n\
             users:\n- name: jane\n  user: {{token: s3cret}}\n\
             - name: joe\n  user: {{username: joe, password: s3cret}}\n\
             contexts:\n- name: test\n  context: {{cluster: test, user: jane}}\n\
             - name: joe\n  context: {{cluster: test, user: joe}}\n",
            self.address
        )
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

fn serve(mut stream: TcpStream, memory: &Mutex<Vec<Asked>>, answers: &dyn Fn(&Asked) -> Option<(u16, Value)>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    while let Some(Ok(line)) = reader.by_ref().lines().next().filter(|line| line.as_ref().is_ok_and(|l| !l.is_empty()))
    {
        head.push(line);
    }
    let header = |name: &str| {
        let line = head.iter().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)));
        line.map(|(_, value)| value.to_owned())
    };
    let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let Some(line) = head.first().and_then(|line| line.strip_suffix(" HTTP/1.1")) else { return };
    let asked = Asked {
        line: sorted(line),
        authorization: header("authorization").unwrap_or_default(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    memory.lock().unwrap().push(asked.clone());
    let Some((status, answer)) = answers(&asked) else {
        // Held open until the client closes the connection.
        let _ = reader.read_to_end(&mut body);
        return;
    };
    // What is a string is told as it stands: not everything that answers is an API server.
    let answer = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
    let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", answer.len());
    let _ = stream.write_all((head + &answer).as_bytes());
}

fn sorted(line: &str) -> String {
    let (path, query) = line.split_once('?').unwrap_or((line, ""));
    let mut parameters: Vec<&str> = query.split('&').filter(|parameter| !parameter.is_empty()).collect();
    parameters.sort_unstable();
    [&[path][..], &parameters].concat().join(" ")
}

/// A kind in the discovery of an API server.
pub(crate) fn served(name: &str, kind: &str, namespaced: bool) -> Value {
    json!({"name": name, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": ["get", "list"]})
}
