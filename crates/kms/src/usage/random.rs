//! GenerateRandom.

use conclave_crypto::Secret;

use crate::fields::RandomBytes;
use crate::response::Response;
use crate::work::Work;

pub(crate) fn generate_random(work: &mut Work<'_>, bytes: RandomBytes) -> Response {
    Response::Random(draw(work, bytes.get()))
}

pub(crate) fn draw(work: &mut Work<'_>, bytes: u32) -> Secret {
    let mut random = vec![0; bytes as usize];
    work.entropy.fill(&mut random);
    Secret::from_vec(random)
}
