//! Asks whether to deploy a version, mails a link to the form, and says what came of it.
//!
//! Whoever has the role `author` may answer by API or command line, and whoever gets the mail by its link, without an
//! account. The first answer counts. The execution takes neither a thread nor memory meanwhile.

use serde::{Deserialize, Serialize};
use surefoot::prelude::*;

/// What may be asked for.
#[derive(Deserialize)]
#[serde(default)]
struct Request {
    /// What is to be deployed.
    version: String,
    /// How long to wait for an answer; fractions count.
    seconds: f64,
    /// The address of the server, as those who get the mail reach it.
    server: String,
    /// Who gets the link, if anybody.
    mail_to: Option<String>,
    /// Who sends it.
    mail_from: String,
    /// The `smtp` connector that sends it.
    mail_connector: String,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            version: "next".into(),
            seconds: 24.0 * 3600.0,
            server: "http://127.0.0.1:7070".into(),
            mail_to: None,
            mail_from: "surefoot@example.com".into(),
            mail_connector: "my-smtp-connector".into(),
        }
    }
}

/// What is answered.
#[derive(Deserialize)]
struct Answer {
    go: bool,
    #[serde(default)]
    reason: String,
}

/// What came of it.
#[derive(Serialize)]
struct Decision {
    deploy: bool,
    by: String,
    reason: String,
}

#[surefoot::flow]
fn handler(_system: &System, this: &Execution, request: Request) -> Result<Decision> {
    let timeout = Duration::try_from_secs_f64(request.seconds)
        .map_err(|error| Error::InvalidInput(format!("`seconds` is {}: {error}", request.seconds)))?;
    let asked = this
        .signal("deploy")
        .message(format!("Deploy version {} to production?", request.version))
        .field("go", json!({"type": "boolean", "title": "Deploy"}))
        .optional_field("reason", json!({"type": "string", "title": "Reason", "maxLength": 1000}))
        .roles(["author"])
        .timeout(timeout)
        .token()
        .open()?;
    if let (Some(to), Some(link)) = (request.mail_to, asked.link(&request.server)) {
        this.connect(request.mail_connector)
            .name("mail the link")
            .input("from_", request.mail_from)
            .input("to", [to])
            .input("subject", format!("Deploy version {}?", request.version))
            .input("text", format!("Please answer here: {link}\n"))
            .run()?;
    }
    match asked.wait::<Answer>() {
        Ok(answer) => Ok(Decision { deploy: answer.payload.go, by: answer.sender, reason: answer.payload.reason }),
        Err(Error::SignalTimeout(_)) => {
            Ok(Decision { deploy: false, by: String::new(), reason: "nobody answered in time".into() })
        }
        Err(other) => Err(other),
    }
}
