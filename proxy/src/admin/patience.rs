//! Bodies of requests that must be there in time: whoever sends nothing more would
//! hold a place among the connections for ever, with or without a token.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use hyper::body::{Frame, SizeHint};
use tokio::time::Sleep;

/// From the first wait for a body to its end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A body, for as long as it may take.
struct InTime {
    body: Body,
    /// There is none while nobody has waited.
    until: Option<Pin<Box<Sleep>>>,
}

/// The same request, whose body fails when it takes too long.
pub(super) async fn limit(request: Request) -> Request {
    request.map(|body| Body::new(InTime { body, until: None }))
}

impl HttpBody for InTime {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            return frame;
        }
        let until = self
            .until
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(PATIENCE)));
        until.as_mut().poll(context).map(|()| {
            let error = "it was not there in time";
            Some(Err(axum::Error::new(std::io::Error::other(error))))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that goes on as its sender likes: the first piece, and nothing more.
    struct Stalled(Option<Bytes>);

    impl HttpBody for Stalled {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
            match self.0.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => Poll::Pending,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_halfway_is_not_waited_for() {
        let since = tokio::time::Instant::now();
        let body = Body::new(Stalled(Some(Bytes::from_static(b"{"))));
        let body = limit(Request::new(body)).await.into_body();
        let error = axum::body::to_bytes(body, 1_024).await.unwrap_err();
        assert!(error.to_string().contains("in time"), "{error}");
        assert_eq!(since.elapsed(), PATIENCE);
        let whole = limit(Request::new(Body::from("{}"))).await.into_body();
        let bytes = axum::body::to_bytes(whole, 1_024).await.unwrap();
        assert_eq!(bytes, "{}");
    }
}
