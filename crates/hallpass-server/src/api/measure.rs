//! Every call is counted and timed under its method and code.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::{figures, trace};

/// A refusal stands in the headers; an answer has its code behind the body.
fn code_of<R>(response: &http::Response<R>) -> Code {
    Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
}

#[derive(Clone)]
pub(super) struct MeasureLayer;

#[derive(Clone)]
pub(super) struct Measure<S>(S);

impl<S> Layer<S> for MeasureLayer {
    type Service = Measure<S>;
    fn layer(&self, inner: S) -> Measure<S> {
        Measure(inner)
    }
}

impl<S, B, R> Service<http::Request<B>> for Measure<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let began = Instant::now();
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = trace::call(figures::method(&path), answer, |a| match a {
                Ok(response) => code_of(response),
                Err(_) => Code::Unknown,
            });
            let answer = answer.await;
            if let Ok(response) = &answer {
                figures::rpc(&path, code_of(response), began.elapsed());
            }
            answer
        })
    }
}
