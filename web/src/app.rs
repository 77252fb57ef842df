//! What all handlers share: the engine, the options, and the two ways to use the engine that HTTP needs.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use serde_json::Value;
use surefoot_engine::{Engine, EngineResult, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::Options;
use crate::caller::Caller;
use crate::operation::{Needs, Operation};
use crate::peers::ClientAddress;
use crate::problem::Problem;
use crate::rate::Rate;
use crate::throttle::Throttle;

/// State of the router. Clones are the same.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

struct Shared {
    engine: Engine,
    options: Options,
    paths: Vec<String>,
    rate: Option<Rate>,
    /// Methods and paths that are open to everybody.
    open: Vec<(Method, String)>,
    throttle: Throttle,
    since: Timestamp,
    tasks: TaskTracker,
}

/// How a wait for an execution ended.
pub(crate) enum Waited {
    /// The execution has ended; its row.
    Ended(Value),
    /// It has not, within the time.
    TimeOver,
    /// The server stops; the execution goes on when it is started again.
    Stopping,
}

/// That the server stops. A router that is called directly never does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stopping {
    /// Cancelled when it begins to.
    pub(crate) begun: CancellationToken,
    /// For how long requests may go on then.
    pub(crate) drain_max: Duration,
}

impl Stopping {
    /// Comes when who waits for an execution must be answered, since the connection will not be there much longer.
    async fn is_near(&self) {
        self.begun.cancelled().await;
        tokio::time::sleep(self.drain_max.mul_f32(0.9)).await;
    }
}

impl<S: Sync> FromRequestParts<S> for Stopping {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

impl App {
    pub(crate) fn new(engine: Engine, options: Options, operations: &[Operation]) -> Self {
        let paths = operations.iter().map(|operation| operation.path.clone()).collect();
        let rate = options.requests_per_second_max.map(Rate::new);
        let open = operations.iter().filter(|operation| operation.needs == Needs::Nothing);
        let open = open.flat_map(|one| one.methods.iter().map(|method| (method.clone(), one.path.clone()))).collect();
        let (throttle, since) = (Throttle::default(), engine.now());
        let tasks = TaskTracker::new();
        Self(Arc::new(Shared { engine, options, paths, rate, open, throttle, since, tasks }))
    }

    /// The engine on behalf of a caller: nothing but what they may reach, with the role that the operation needs.
    pub(crate) fn engine_for(&self, caller: &Caller) -> Engine {
        self.0.engine.on_behalf(caller.rights.clone(), caller.needed)
    }

    /// The engine for what is done on nobody's behalf: health, calls of webhooks, finding out who calls. What a caller
    /// names never goes here without a check of its own.
    pub(crate) fn whole_engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Whether everybody may ask for that; for paths without parameters.
    pub(crate) fn is_open(&self, method: &Method, path: &str) -> bool {
        self.0.open.iter().any(|(open, at)| open == method && at == path)
    }

    /// How often somebody may try a password.
    pub(crate) fn throttle(&self) -> &Throttle {
        &self.0.throttle
    }

    /// When this was made, with the start of the server.
    pub(crate) fn since(&self) -> Timestamp {
        self.0.since
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    /// Counts a request of that address against its limit, if it has one.
    ///
    /// # Errors
    /// When there were too many.
    pub(crate) fn admit(&self, client: ClientAddress) -> Result<(), Problem> {
        match (&self.0.rate, client.ip.filter(|ip| self.0.options.peers.limits(*ip))) {
            (Some(rate), Some(ip)) => rate.take(ip, Instant::now()).map_err(Problem::too_many_requests),
            _ => Ok(()),
        }
    }

    /// The path templates of all routes.
    pub(crate) fn paths(&self) -> &[String] {
        &self.0.paths
    }

    /// Carries a change to its end, also when the caller hangs up and this future is dropped: a change has a part after
    /// its commit (an execution is woken, a schedule is looked at) that must not be lost. The task is one write of the
    /// store, and ends with it or with the engine.
    pub(crate) async fn complete<T, F>(&self, engine: Engine, change: impl FnOnce(Engine) -> F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = EngineResult<T>> + Send + 'static,
    {
        let change = change(engine).in_current_span();
        match self.0.tasks.spawn(change).await {
            Ok(result) => Ok(result?),
            Err(error) => Err(Problem::internal(&error)),
        }
    }

    /// Waits for the end of an execution, for at most that long.
    pub(crate) async fn wait_ended(
        &self,
        engine: &Engine,
        id: &str,
        timeout: Duration,
        stopping: &Stopping,
    ) -> Result<Waited, Problem> {
        tokio::select! {
            ended = engine.wait_ended(id, Some(timeout)) => Ok(ended?.map_or(Waited::TimeOver, Waited::Ended)),
            () = stopping.is_near() => Ok(Waited::Stopping),
        }
    }
}
