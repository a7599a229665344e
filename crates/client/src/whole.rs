//! Requests that say with their last byte that it was the last.
//!
//! gRPC asks a message's body for more before it knows that there is none, and says so in a frame
//! of its own: one more TLS record, system call and wake-up at either end for each request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{body::Body, transport::Channel};
use tower::Service;

/// A channel whose requests do so.
#[derive(Clone)]
pub(crate) struct Whole(pub(crate) Channel);

impl Service<http::Request<Body>> for Whole {
    type Response = <Channel as Service<http::Request<Body>>>::Response;
    type Error = <Channel as Service<http::Request<Body>>>::Error;
    type Future = <Channel as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.call(request.map(|body| Body::new(Ahead { inner: body, next: None })))
    }
}

/// A body that is asked for the next frame as soon as it has given one.
struct Ahead<B: HttpBody> {
    inner: B,
    /// What it answered, if it did at once.
    next: Option<Polled<B>>,
}

type Polled<B> = Option<Result<Frame<<B as HttpBody>::Data>, <B as HttpBody>::Error>>;

impl<B: HttpBody + Unpin> HttpBody for Ahead<B>
where
    B::Data: Unpin,
    B::Error: Unpin,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Polled<B>> {
        let frame = match self.next.take() {
            Some(next) => next,
            None => ready!(Pin::new(&mut self.inner).poll_frame(cx)),
        };
        if let Some(Ok(_)) = frame
            && let Poll::Ready(next) = Pin::new(&mut self.inner).poll_frame(cx)
        {
            self.next = Some(next);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.next {
            Some(next) => next.is_none(),
            None => self.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;
    use futures::{StreamExt, stream};
    use http_body_util::StreamBody;
    use tonic::Status;

    use super::*;

    fn ahead(
        frames: impl futures::Stream<Item = &'static str> + Send + 'static,
    ) -> Ahead<impl HttpBody<Data = Bytes, Error = Status> + Unpin> {
        let frames = frames.map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes()))));
        Ahead { inner: StreamBody::new(frames.boxed()), next: None }
    }

    async fn text<B>(body: &mut Ahead<B>) -> Option<Bytes>
    where
        B: HttpBody<Data = Bytes, Error = Status> + Unpin,
    {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
        Some(frame.unwrap().into_data().unwrap())
    }

    #[tokio::test]
    async fn the_last_frame_is_known_to_be_the_last() {
        let mut body = ahead(stream::iter(["one", "two"]));
        assert_eq!(text(&mut body).await.unwrap(), "one");
        assert!(!body.is_end_stream());
        assert_eq!(text(&mut body).await.unwrap(), "two");
        assert!(body.is_end_stream());
        assert_eq!(text(&mut body).await, None);
    }

    #[tokio::test]
    async fn a_frame_does_not_wait_for_the_next() {
        let (give, frames) = tokio::sync::mpsc::unbounded_channel();
        let frames = stream::unfold(frames, |mut frames| async {
            let frame = frames.recv().await?;
            Some((frame, frames))
        });
        let mut body = ahead(frames);
        for given in ["one", "two"] {
            give.send(given).unwrap();
            assert_eq!(text(&mut body).await.unwrap(), given);
            assert!(!body.is_end_stream());
        }
        drop(give);
        assert_eq!(text(&mut body).await, None);
    }
}
