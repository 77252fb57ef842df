//! The contract `surefoot:flow@0.1.0`, from the guest's types to the session's and back. Nothing is decided here.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::wasi::Guest;
use crate::clock::Timestamp;
use crate::journal::{CallKind, HostError, is_too_deep};
use crate::session::{
    Asked, Asking, CallResult, ConnectionOptions, End, EndAction, EndedDependency, QueryCall, ReturnWhen as When, read,
    read_object,
};

wasmtime::component::bindgen!({
    path: "../sdk/wit/0.1.0",
    world: "flow",
    imports: { default: async | trappable },
    exports: { default: async },
});

use surefoot::flow::execution::{
    Asked as WitAsked, CheckOutcome, CheckResult, ConnectionOptions as WitConnectionOptions, EndAction as WitEndAction,
    Ended, FlowOptions, Level, LockError, OnInterrupt, Question, Response, ReturnWhen, SignalReceived,
};
use surefoot::flow::files::FileStat;
use surefoot::flow::records::{Page, QuerySpec};
use surefoot::flow::types::{Error, Failure};

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl surefoot::flow::types::Host for Guest {}

fn answer<T, U>(result: CallResult<T>, convert: impl FnOnce(T) -> U) -> Answer<U> {
    Ok(result?.map(convert).map_err(Error::from))
}

impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        match error {
            HostError::DependencyFailed(failure) => Self::DependencyFailed(Failure {
                execution_id: failure.execution_id,
                name: failure.name,
                status: failure.status.as_str().to_owned(),
                code: failure.code,
                message: failure.message,
            }),
            HostError::DependencyTimeout(ids) => Self::DependencyTimeout(ids),
            HostError::SignalTimeout(name) => Self::SignalTimeout(name),
            HostError::NotFound(text) => Self::NotFound(text),
            HostError::InvalidInput(text) => Self::InvalidInput(text),
            HostError::ExtraInput(text) => Self::ExtraInput(text),
            HostError::PermissionDenied(text) => Self::PermissionDenied(text),
            // These two are of locks alone, whose calls have an error type of their own.
            HostError::Conflict(text) | HostError::LockTimeout(text) | HostError::Deadlock(text) => {
                Self::Conflict(text)
            }
            HostError::LimitExceeded(text) => Self::LimitExceeded(text),
        }
    }
}

impl From<HostError> for LockError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::LockTimeout(text) => Self::Timeout(text),
            HostError::Deadlock(text) => Self::Deadlock(text),
            error => Self::Other(error.into()),
        }
    }
}

/// A document of which nothing depends: kept as text when it is no JSON.
fn lenient(text: String) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    serde_json::from_str(&text).ok().filter(|value| !is_too_deep(value)).unwrap_or(Value::String(text))
}

impl surefoot::flow::execution::Host for Guest {
    async fn get(&mut self, field: String) -> Answer<String> {
        answer(self.called().get(&field).await, |value| value.to_string())
    }

    async fn set_output(&mut self, key: String, value: String) -> wasmtime::Result<()> {
        // No entry of the journal, so what the guest may compute on is not measured anew.
        let session = self.session.clone();
        session.check_payload(key.len() + value.len())?;
        Ok(session.set_output(&key, lenient(value))?)
    }

    async fn set_message(&mut self, text: String) -> wasmtime::Result<()> {
        let session = self.session.clone();
        session.set_message(&text)?;
        Ok(session.caught_up().await?)
    }

    async fn log(&mut self, level: Level, message: String, fields: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        let session = self.called();
        session.check_payload(message.len() + fields.len())?;
        session.log(level, "log", &message, lenient(fields))?;
        Ok(session.caught_up().await?)
    }

    async fn check(&mut self, check: CheckResult) -> wasmtime::Result<()> {
        let outcome = match check.outcome {
            CheckOutcome::Pass => "pass",
            CheckOutcome::Fail => "fail",
            CheckOutcome::Warn => "warn",
            CheckOutcome::Skip => "skip",
        };
        let args = json!({
            "name": check.name, "outcome": outcome, "message": check.message, "duration_ms": check.duration_ms,
            "data": lenient(check.data),
        });
        let session = self.called();
        session.note(CallKind::Check, args)?;
        Ok(session.caught_up().await?)
    }

    async fn metric(&mut self, name: String, value: f64, unit: String) -> wasmtime::Result<()> {
        let session = self.called();
        session.note(CallKind::Metric, json!({"name": name, "value": value, "unit": unit}))?;
        Ok(session.caught_up().await?)
    }

    async fn section(&mut self, name: String) -> wasmtime::Result<()> {
        let session = self.called();
        session.note(CallKind::Section, json!({"name": name}))?;
        Ok(session.caught_up().await?)
    }

    async fn sleep(&mut self, duration_ms: u64, message: Option<String>) -> wasmtime::Result<()> {
        Ok(self.called().sleep(Duration::from_millis(duration_ms), message.as_deref()).await?)
    }

    async fn sleep_until(&mut self, due_ms: u64, message: Option<String>) -> wasmtime::Result<()> {
        Ok(self.called().sleep_until(Timestamp::from_millis(due_ms), message.as_deref()).await?)
    }

    async fn start_connection(
        &mut self,
        connector: String,
        inputs: String,
        options: WitConnectionOptions,
    ) -> Answer<String> {
        start_connection(self, &connector, inputs, options, None).await
    }

    async fn start_connection_with(
        &mut self,
        connector: String,
        inputs: String,
        options: WitConnectionOptions,
        policy: String,
    ) -> Answer<String> {
        start_connection(self, &connector, inputs, options, Some(policy)).await
    }

    async fn start_flow(&mut self, flow: String, inputs: String, options: FlowOptions) -> Answer<String> {
        if flow.starts_with("native:") {
            let error = read(&inputs, "the flow's inputs").err();
            return Ok(Err(error.unwrap_or_else(|| HostError::NotFound(format!("there is no flow `{flow}`"))).into()));
        }
        answer(self.called().start_flow(&flow, inputs, options.name.as_deref(), options.orphan).await, |id| id)
    }

    async fn wait(&mut self, ids: Vec<String>, when: ReturnWhen, timeout_ms: Option<u64>) -> Answer<Vec<Ended>> {
        let when = match when {
            ReturnWhen::AllEnded => When::AllEnded,
            ReturnWhen::AllSucceeded => When::AllSucceeded,
            ReturnWhen::FirstEnded => When::FirstEnded,
        };
        let ended = self.called().wait(&ids, when, timeout_ms.map(Duration::from_millis)).await;
        answer(ended, |ended| ended.into_iter().map(to_wit).collect())
    }

    async fn wait_connection(&mut self, id: String, timeout_ms: Option<u64>) -> Answer<String> {
        let timeout = timeout_ms.map(Duration::from_millis);
        let ended = self.called().wait(&[id], When::AllSucceeded, timeout).await;
        answer(ended, |ended| ended.first().map(|ended| ended.output.text().into_owned()).unwrap_or_default())
    }

    async fn cancel(&mut self, id: String) -> Answer<()> {
        answer(self.called().cancel(&id).await, |()| ())
    }

    async fn wait_signal(&mut self, name: String, timeout_ms: Option<u64>) -> Answer<SignalReceived> {
        let signal = self.called().wait_signal(&name, timeout_ms.map(Duration::from_millis)).await;
        answer(signal, |(id, payload, sender)| SignalReceived { id, payload: payload.to_string(), sender })
    }

    async fn ask(&mut self, name: String, question: Question) -> Answer<WitAsked> {
        let schema = match question.schema.as_deref().map(|text| read(text, "the schema of the answer")).transpose() {
            Ok(schema) => schema,
            Err(error) => return Ok(Err(error.into())),
        };
        let asking = Asking {
            message: question.message,
            schema,
            roles: question.roles,
            users: question.users,
            timeout: question.timeout_ms.map(Duration::from_millis),
            with_token: question.with_token,
        };
        answer(self.called().ask(&name, asking).await, |Asked { id, token }| WitAsked { id, token })
    }

    async fn wait_answer(&mut self, id: String) -> Answer<SignalReceived> {
        answer(self.called().wait_answer(&id).await, |(id, payload, sender)| SignalReceived {
            id,
            payload: payload.to_string(),
            sender,
        })
    }

    async fn lock(&mut self, setting: String, timeout_ms: Option<u64>) -> wasmtime::Result<Result<String, LockError>> {
        let locked = self.called().lock(&setting, timeout_ms.map(Duration::from_millis)).await?;
        Ok(locked.map_err(LockError::from))
    }

    async fn unlock(&mut self, setting: String) -> Answer<()> {
        answer(self.called().unlock(&setting).await, |()| ())
    }

    async fn on_end(&mut self, action: WitEndAction) -> Answer<()> {
        let action = match action {
            WitEndAction::SaveRecord((kind, ..)) if kind == "connector" => {
                // Its fields would stand in the journal, secrets included.
                let text = "a connector cannot be saved at the end of an execution".to_owned();
                return Ok(Err(HostError::InvalidInput(text).into()));
            }
            WitEndAction::StartFlow((flow, _)) if flow.starts_with("native:") => {
                return Ok(Err(HostError::NotFound(format!("there is no flow `{flow}`")).into()));
            }
            WitEndAction::SaveRecord((kind, key, fields)) => match read_object(&fields, "the fields to save") {
                Ok(fields) => EndAction::SaveRecord { kind, key, fields: Value::Object(fields) },
                Err(error) => return Ok(Err(error.into())),
            },
            WitEndAction::DeleteRecord((kind, key)) => EndAction::DeleteRecord { kind, key },
            WitEndAction::StartFlow((flow, inputs)) => match read(&inputs, "the flow's inputs") {
                Ok(inputs) => EndAction::StartFlow { flow, inputs },
                Err(error) => return Ok(Err(error.into())),
            },
        };
        answer(self.called().on_end(action).await, |()| ())
    }

    async fn end_success(&mut self, message: String) -> wasmtime::Result<()> {
        self.session.check_payload(message.len())?;
        Err(End::Success(message).into())
    }

    async fn end_error(&mut self, code: String, message: String) -> wasmtime::Result<()> {
        self.session.check_payload(code.len() + message.len())?;
        Err(End::Error(code, message).into())
    }

    async fn webhook_response(&mut self, response: Response) -> wasmtime::Result<()> {
        let headers: Vec<(String, String)> = response.headers;
        let header_bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.session.check_output(response.body.len() + header_bytes)?;
        // A text stays readable wherever the execution is shown; other bytes travel as hexadecimal.
        let body = match String::from_utf8(response.body) {
            Ok(text) => json!({ "body": text }),
            Err(error) => json!({ "body_hex": hex::encode(error.into_bytes()) }),
        };
        let mut document = json!({"status": response.status, "headers": headers});
        if let (Value::Object(document), Value::Object(body)) = (&mut document, body) {
            document.extend(body);
        }
        Err(End::Response(document).into())
    }

    async fn continue_as_new(&mut self, inputs: String) -> wasmtime::Result<()> {
        self.session.check_payload(inputs.len())?;
        match read(&inputs, "the new inputs") {
            Ok(inputs) => Err(End::ContinueAsNew(inputs).into()),
            Err(error) => Err(End::Error("invalid_input".into(), error.to_string()).into()),
        }
    }
}

async fn start_connection(
    guest: &mut Guest,
    connector: &str,
    inputs: String,
    options: WitConnectionOptions,
    policy: Option<String>,
) -> Answer<String> {
    let options = ConnectionOptions {
        name: options.name,
        timeout: options.timeout_ms.map(Duration::from_millis),
        retry_on_interrupt: options.on_interrupt == OnInterrupt::Retry,
        policy,
    };
    answer(guest.called().start_connection(connector, inputs, options).await, |id| id)
}

fn to_wit(ended: EndedDependency) -> Ended {
    Ended {
        execution_id: ended.id,
        status: ended.status.as_str().to_owned(),
        code: ended.code,
        message: ended.message,
        output: ended.output.text().into_owned(),
    }
}

impl surefoot::flow::records::Host for Guest {
    async fn get(&mut self, kind: String, name_or_id: String) -> Answer<Option<String>> {
        answer(self.called().record_get(&kind, &name_or_id).await, |record| record.map(|record| record.to_string()))
    }

    async fn save(&mut self, kind: String, name_or_id: String, fields: String) -> Answer<String> {
        answer(self.called().record_save(&kind, &name_or_id, fields).await, |record| record.to_string())
    }

    async fn delete(&mut self, kind: String, name_or_id: String, permanently: bool) -> Answer<bool> {
        let session = self.called();
        let deleted = match kind.as_str() {
            "file" => session.file_delete(&name_or_id, permanently).await,
            _ => session.record_delete(&kind, &name_or_id, permanently).await,
        };
        answer(deleted, |deleted| deleted)
    }

    async fn query(&mut self, query: QuerySpec) -> Answer<Page> {
        let filter = match query.filter.as_deref().map(|filter| read(filter, "the filter")).transpose() {
            Ok(filter) => filter,
            Err(error) => return Ok(Err(error.into())),
        };
        let call = QueryCall {
            kind: query.kind,
            filter,
            order: query.order,
            limit: Some(query.limit),
            cursor: query.cursor,
            deleted: false,
        };
        answer(self.called().record_query(&call).await, |page| Page {
            rows: page.rows.iter().map(Value::to_string).collect(),
            next: page.next,
        })
    }
}

impl surefoot::flow::files::Host for Guest {
    async fn stat(&mut self, name: String) -> Answer<Option<FileStat>> {
        answer(self.called().file_stat(&name).await, |stat| {
            stat.map(|(size_bytes, sha256)| FileStat { name, size_bytes, sha256 })
        })
    }

    async fn read(&mut self, name: String, offset: u64, length: u32) -> Answer<Vec<u8>> {
        answer(self.called().file_read(&name, offset, length).await, |bytes| bytes.to_vec())
    }

    async fn write(&mut self, name: String, content: Vec<u8>) -> Answer<FileStat> {
        let size_bytes = content.len() as u64;
        answer(self.called().file_write(&name, Bytes::from(content)).await, |sha256| FileStat {
            name,
            size_bytes,
            sha256,
        })
    }

    async fn delete(&mut self, name: String, permanently: bool) -> Answer<bool> {
        answer(self.called().file_delete(&name, permanently).await, |deleted| deleted)
    }
}
