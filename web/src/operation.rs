//! One operation of the API: method, path, who may ask for it, what goes in and what comes out, and its handler. The
//! router, the check of roles and the OpenAPI document are made from the same value, so none can tell another story.

use axum::extract::Request;
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodFilter, MethodRouter};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::Value;
use surefoot_engine::Role;

use crate::app::App;
use crate::caller::Caller;
use crate::problem::Problem;
use crate::ui::forms;

/// See the module.
pub(crate) struct Operation {
    /// Those that it answers; more than one where the handler tells them apart.
    pub(crate) methods: Vec<Method>,
    /// A template, with `{parameters}`.
    pub(crate) path: String,
    pub(crate) needs: Needs,
    /// One sentence for people.
    pub(crate) summary: String,
    /// The parameters of the query, as the properties of an object.
    pub(crate) query: Option<fn() -> Value>,
    pub(crate) body: Option<Body>,
    /// What comes back when all is well. Nothing is promised where there is none: a flow decides.
    pub(crate) answers: Vec<(StatusCode, Content)>,
    /// Whether it is a page for people, or what a form of one sends: no part of the API, and not described in its
    /// document.
    pub(crate) is_page: bool,
    pub(crate) handlers: MethodRouter<App>,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Everybody.
    Nothing,
    /// Whoever is known, with any role or none.
    Known,
    /// Who has that role, or a higher one, somewhere. The handler gets the engine from
    /// [`InReach`](crate::caller::InReach), which reaches nothing beyond.
    Role(Role),
    /// Who has that role in the whole workspace.
    WorkspaceRole(Role),
}

impl Needs {
    /// The role, and where it must be held, in the words of the OpenAPI document.
    pub(crate) fn described(self) -> (String, &'static str) {
        match self {
            Self::Nothing => ("none".to_owned(), "nowhere"),
            Self::Known => ("any".to_owned(), "nowhere"),
            Self::Role(role) => (role.to_string(), "project"),
            Self::WorkspaceRole(role) => (role.to_string(), "workspace"),
        }
    }
}

/// What a request carries.
pub(crate) struct Body {
    pub(crate) content: Content,
    pub(crate) is_required: bool,
}

/// The media type of bytes that may be anything.
pub(crate) const ANY_BYTES: &str = "application/octet-stream";

/// Makes a schema. Schemas are large, and wanted by those alone who ask for the OpenAPI document.
pub(crate) type Describe = Box<dyn Fn() -> Value + Send + Sync>;

/// A body, of a request or of an answer.
pub(crate) enum Content {
    /// A JSON document with that schema.
    Json(Describe),
    /// Bytes of that media type.
    Bytes(&'static str),
}

impl Operation {
    fn new<H, T>(methods: Vec<Method>, filter: MethodFilter, path: impl Into<String>, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self {
            methods,
            path: path.into(),
            needs: Needs::Nothing,
            summary: String::new(),
            query: None,
            body: None,
            answers: Vec::new(),
            is_page: false,
            handlers: routing::on(filter, handler),
        }
    }

    /// A page for people.
    pub(crate) fn page<H: Handler<T, App>, T: 'static>(path: impl Into<String>, handler: H) -> Self {
        Self { is_page: true, ..Self::get(path, handler) }
    }

    /// What a form of a page sends. Of a session, the form must show that it comes from a page of this server.
    pub(crate) fn action<H: Handler<T, App>, T: 'static>(path: impl Into<String>, handler: H) -> Self {
        let operation = Self::post(path, handler);
        let handlers = operation.handlers.route_layer(middleware::from_fn(forms::check));
        Self { is_page: true, handlers, ..operation }
    }

    /// What a form with a file sends. The handler reads it, and checks by itself what [`forms::check`] does for others.
    pub(crate) fn upload<H: Handler<T, App>, T: 'static>(path: impl Into<String>, handler: H) -> Self {
        Self { is_page: true, ..Self::post(path, handler) }
    }

    pub(crate) fn get<H: Handler<T, App>, T: 'static>(path: impl Into<String>, handler: H) -> Self {
        Self::new(vec![Method::GET], MethodFilter::GET, path, handler)
    }

    pub(crate) fn post<H: Handler<T, App>, T: 'static>(path: impl Into<String>, handler: H) -> Self {
        Self::new(vec![Method::POST], MethodFilter::POST, path, handler)
    }

    pub(crate) fn put<H: Handler<T, App>, T: 'static>(path: impl Into<String>, handler: H) -> Self {
        Self::new(vec![Method::PUT], MethodFilter::PUT, path, handler)
    }

    pub(crate) fn patch<H: Handler<T, App>, T: 'static>(path: impl Into<String>, handler: H) -> Self {
        Self::new(vec![Method::PATCH], MethodFilter::PATCH, path, handler)
    }

    pub(crate) fn delete<H: Handler<T, App>, T: 'static>(path: impl Into<String>, handler: H) -> Self {
        Self::new(vec![Method::DELETE], MethodFilter::DELETE, path, handler)
    }

    /// Every method comes to the handler; it has `methods`, and refuses the others by itself.
    pub(crate) fn any<H: Handler<T, App>, T: 'static>(
        methods: Vec<Method>,
        path: impl Into<String>,
        handler: H,
    ) -> Self {
        let operation = Self::new(methods, MethodFilter::GET, path, handler.clone());
        Self { handlers: routing::any(handler), ..operation }
    }

    /// Only for those callers.
    #[must_use]
    pub(crate) fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self.handlers =
            self.handlers.route_layer(middleware::from_fn(move |request, next| require(needs, request, next)));
        self
    }

    /// Only for callers with that role, or a higher one, where what they ask about is.
    #[must_use]
    pub(crate) fn role(self, role: Role) -> Self {
        self.needs(Needs::Role(role))
    }

    /// Only for callers with that role, or a higher one, in the whole workspace.
    #[must_use]
    pub(crate) fn workspace_role(self, role: Role) -> Self {
        self.needs(Needs::WorkspaceRole(role))
    }

    #[must_use]
    pub(crate) fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = summary.into();
        self
    }

    /// It takes the fields of `T` as parameters of the query.
    #[must_use]
    pub(crate) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(schema::<T>);
        self
    }

    /// It takes parameters of the query, the properties of such an object.
    #[must_use]
    pub(crate) fn query_of(mut self, describe: fn() -> Value) -> Self {
        self.query = Some(describe);
        self
    }

    /// It needs a JSON body.
    #[must_use]
    pub(crate) fn body<T: JsonSchema + 'static>(self) -> Self {
        self.body_of(schema::<T>)
    }

    #[must_use]
    pub(crate) fn body_of(mut self, schema: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        self.body = Some(Body { content: Content::Json(Box::new(schema)), is_required: true });
        self
    }

    /// It takes a JSON body; none counts as `{}`.
    #[must_use]
    pub(crate) fn optional_body<T: JsonSchema + 'static>(mut self) -> Self {
        self.body = Some(Body { content: Content::Json(Box::new(schema::<T>)), is_required: false });
        self
    }

    /// It needs a body that is no document.
    #[must_use]
    pub(crate) fn bytes_body(mut self, media_type: &'static str) -> Self {
        self.body = Some(Body { content: Content::Bytes(media_type), is_required: true });
        self
    }

    /// It takes a body that is no document, with the methods that have one.
    #[must_use]
    pub(crate) fn optional_bytes_body(mut self, media_type: &'static str) -> Self {
        self.body = Some(Body { content: Content::Bytes(media_type), is_required: false });
        self
    }

    /// It answers with a `T` as JSON.
    #[must_use]
    pub(crate) fn answers<T: JsonSchema + 'static>(self, status: StatusCode) -> Self {
        self.answers_of(status, schema::<T>)
    }

    #[must_use]
    pub(crate) fn answers_of(mut self, status: StatusCode, schema: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        self.answers.push((status, Content::Json(Box::new(schema))));
        self
    }

    #[must_use]
    pub(crate) fn answers_bytes(mut self, status: StatusCode, media_type: &'static str) -> Self {
        self.answers.push((status, Content::Bytes(media_type)));
        self
    }
}

/// The schema of a type, in the dialect that OpenAPI 3.1 has, whole in one piece.
fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema: Schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    schema.to_value()
}

/// Refuses callers whose role is too low. Who calls was found out by `access::check`; without that nobody is let in.
async fn require(needs: Needs, mut request: Request, next: Next) -> Response {
    let Some(caller) = request.extensions_mut().get_mut::<Caller>() else {
        return Problem::no_token().into_response();
    };
    let (role, has, place) = match needs {
        Needs::Nothing | Needs::Known => return next.run(request).await,
        Needs::Role(role) => (role, caller.rights.highest(), ""),
        Needs::WorkspaceRole(role) => (role, caller.rights.in_workspace(), " in the whole workspace"),
    };
    if has < Some(role) {
        let has = has.map_or("no role".to_owned(), |role| format!("the role {role}"));
        let detail = format!("this needs the role {role}{place}, and {} has {has}{place}", caller.who);
        return Problem::forbidden(detail).hint("ask an admin of this workspace for the role").into_response();
    }
    caller.needed = role;
    next.run(request).await
}
