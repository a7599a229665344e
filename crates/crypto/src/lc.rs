//! What aws-lc can do and aws-lc-rs does not show: Ed25519ph, ML-DSA over a µ computed elsewhere,
//! and ML-KEM keys expanded from their seed.
//!
//! **Architecture invariant:** the only `unsafe` of this crate. Every pointer that goes in comes
//! from a reference or an array that outlives the call, with a length checked before; every object
//! that comes out is owned by a type that frees it. Failing calls say nothing but that they failed.

#![expect(unsafe_code, reason = "aws-lc-sys is functions of C; aws-lc-rs wraps none of these")]

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use aws_lc_sys as sys;

use crate::secret::Secret;

/// Length of an Ed25519 signature, in bytes.
const ED25519_SIGNATURE_LEN: usize = 64;
/// Length of ML-DSA's µ, in bytes (FIPS 204, Algorithm 7).
pub const MU_LEN: usize = 64;

/// Ed25519ph (RFC 8032, 5.1) of a message whose SHA-512 is `digest`, with an empty context, under
/// the key of `seed` whose public half is `public`.
///
/// `public` must belong to `seed`: a signature under another one would give the key away.
pub(crate) fn ed25519ph_sign(
    seed: &[u8; 32],
    public: &[u8; 32],
    digest: &[u8; 64],
) -> Option<[u8; ED25519_SIGNATURE_LEN]> {
    sys::init();
    let mut private = Secret::zeroed(64);
    let (seed_half, public_half) = private.expose_mut().split_at_mut(32);
    seed_half.copy_from_slice(seed);
    public_half.copy_from_slice(public);
    let mut signature = [0; ED25519_SIGNATURE_LEN];
    // SAFETY: the function writes 64 bytes to `out_sig` and reads 64 of `digest`, 64 of
    // `private_key` (the seed, then the public key) and none of a context of length 0. These are
    // arrays of that length, and `private` was made with it.
    let done = unsafe {
        sys::ED25519ph_sign_digest(
            signature.as_mut_ptr(),
            digest.as_ptr(),
            private.expose().as_ptr(),
            ptr::null(),
            0,
        )
    };
    succeeded(done).then_some(signature)
}

/// Whether `signature` is Ed25519ph of `public`'s owner over the message whose SHA-512 is `digest`.
pub(crate) fn ed25519ph_verify(
    public: &[u8; 32],
    digest: &[u8; 64],
    signature: &[u8; ED25519_SIGNATURE_LEN],
) -> bool {
    sys::init();
    // SAFETY: the function reads 64 bytes of `digest`, 64 of `signature`, 32 of `public_key` and
    // none of a context of length 0: arrays of that length.
    let done = unsafe {
        sys::ED25519ph_verify_digest(
            digest.as_ptr(),
            signature.as_ptr(),
            public.as_ptr(),
            ptr::null(),
            0,
        )
    };
    succeeded(done)
}

/// A parameter set of ML-DSA or ML-KEM, by aws-lc's number of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nid(i32);

impl Nid {
    pub(crate) const ML_DSA_44: Self = Self(sys::NID_MLDSA44);
    pub(crate) const ML_DSA_65: Self = Self(sys::NID_MLDSA65);
    pub(crate) const ML_DSA_87: Self = Self(sys::NID_MLDSA87);
    pub(crate) const ML_KEM_512: Self = Self(sys::NID_MLKEM512);
    pub(crate) const ML_KEM_768: Self = Self(sys::NID_MLKEM768);
    pub(crate) const ML_KEM_1024: Self = Self(sys::NID_MLKEM1024);
}

/// An ML-DSA key, private or public, that takes µ in place of a message.
pub(crate) struct MuKey(Pkey);

impl MuKey {
    /// The private key of `seed`.
    pub(crate) fn private(parameters: Nid, seed: &[u8; 32]) -> Option<Self> {
        sys::init();
        // SAFETY: the function reads as many bytes as are said to be there, copies them, and gives
        // a new object to the caller, or null.
        let key = unsafe {
            sys::EVP_PKEY_pqdsa_new_raw_private_key(parameters.0, seed.as_ptr(), seed.len())
        };
        Pkey::owned(key).map(Self)
    }

    /// The public key that is these bytes.
    pub(crate) fn public(parameters: Nid, raw: &[u8]) -> Option<Self> {
        sys::init();
        // SAFETY: as in `private`.
        let key = unsafe {
            sys::EVP_PKEY_pqdsa_new_raw_public_key(parameters.0, raw.as_ptr(), raw.len())
        };
        Pkey::owned(key).map(Self)
    }

    /// A signature of `len` bytes, which must be the parameter set's own length.
    pub(crate) fn sign(&self, mu: &[u8; MU_LEN], len: usize) -> Option<Vec<u8>> {
        let context = Context::new(&self.0)?;
        let mut signature = vec![0; len];
        let mut written = signature.len();
        // SAFETY: `context` is a live context of a live key, used by this thread alone. The second
        // function reads `MU_LEN` bytes of `mu` and writes at most `written` bytes, or fails if the
        // signature is longer.
        let done = unsafe {
            sys::EVP_PKEY_sign_init(context.0.as_ptr()) == 1
                && sys::EVP_PKEY_sign(
                    context.0.as_ptr(),
                    signature.as_mut_ptr(),
                    &mut written,
                    mu.as_ptr(),
                    mu.len(),
                ) == 1
        };
        (succeeded(done.into()) && written == len).then_some(signature)
    }

    /// Whether `signature` is this key's over what gave `mu`.
    pub(crate) fn verify(&self, mu: &[u8; MU_LEN], signature: &[u8]) -> bool {
        let Some(context) = Context::new(&self.0) else { return false };
        // SAFETY: `context` is a live context of a live key, used by this thread alone. The second
        // function reads as many bytes of both slices as they have.
        let done = unsafe {
            sys::EVP_PKEY_verify_init(context.0.as_ptr()) == 1
                && sys::EVP_PKEY_verify(
                    context.0.as_ptr(),
                    signature.as_ptr(),
                    signature.len(),
                    mu.as_ptr(),
                    mu.len(),
                ) == 1
        };
        succeeded(done.into())
    }
}

/// The two raw keys that the seed in an ML-KEM private key's PKCS#8 expands to: the encapsulation
/// key, and the decapsulation key (FIPS 203, Algorithm 16). None if the PKCS#8 is of another
/// parameter set, or the keys are not of these lengths.
pub(crate) fn expand_ml_kem(
    parameters: Nid,
    pkcs8: &[u8],
    encapsulation_len: usize,
    decapsulation_len: usize,
) -> Option<(Vec<u8>, Secret)> {
    sys::init();
    let mut reader = MaybeUninit::<sys::CBS>::uninit();
    // SAFETY: `CBS_init` writes all of the reader it is given; the parser then reads within
    // `pkcs8`, which outlives both, and gives a new object to the caller, or null.
    let key = unsafe {
        sys::CBS_init(reader.as_mut_ptr(), pkcs8.as_ptr(), pkcs8.len());
        sys::EVP_parse_private_key(reader.as_mut_ptr())
    };
    let key = Pkey::owned(key)?;
    // SAFETY: both functions look at a live key alone; that of a key of another kind is refused.
    let is_right = unsafe {
        sys::EVP_PKEY_id(key.0.as_ptr()) == sys::EVP_PKEY_KEM
            && sys::EVP_PKEY_kem_get_type(key.0.as_ptr()) == parameters.0
    };
    is_right.then_some(())?;

    let mut public = vec![0; encapsulation_len];
    let mut private = Secret::zeroed(decapsulation_len);
    let (mut public_len, mut private_len) = (public.len(), private.len());
    // SAFETY: each function writes at most as many bytes as its length says there is room for, and
    // fails if the raw key is longer.
    let done = unsafe {
        sys::EVP_PKEY_get_raw_public_key(key.0.as_ptr(), public.as_mut_ptr(), &mut public_len) == 1
            && sys::EVP_PKEY_get_raw_private_key(
                key.0.as_ptr(),
                private.expose_mut().as_mut_ptr(),
                &mut private_len,
            ) == 1
    };
    let is_whole = public_len == encapsulation_len && private_len == decapsulation_len;
    (succeeded(done.into()) && is_whole).then_some((public, private))
}

/// A key object of aws-lc, owned.
struct Pkey(NonNull<sys::EVP_PKEY>);

// SAFETY: evp.h says of EVP_PKEY that it "may be used concurrently on multiple threads by
// non-mutating functions"; nothing in here mutates one after it was made, and its count of
// references, which contexts change, is atomic.
unsafe impl Send for Pkey {}
// SAFETY: as for `Send`.
unsafe impl Sync for Pkey {}

impl Pkey {
    /// Takes over what a function gave to its caller.
    fn owned(key: *mut sys::EVP_PKEY) -> Option<Self> {
        let key = NonNull::new(key).map(Self);
        if key.is_none() {
            forget_errors();
        }
        key
    }
}

impl Drop for Pkey {
    fn drop(&mut self) {
        // SAFETY: the object is owned and live; nothing uses it after this.
        unsafe { sys::EVP_PKEY_free(self.0.as_ptr()) }
    }
}

/// A context for one operation with a key, owned. It never leaves the function that made it.
struct Context(NonNull<sys::EVP_PKEY_CTX>);

impl Context {
    fn new(key: &Pkey) -> Option<Self> {
        // SAFETY: the key is live, and the context counts itself among its users; no engine is
        // given. The new object is the caller's, or null.
        let context = unsafe { sys::EVP_PKEY_CTX_new(key.0.as_ptr(), ptr::null_mut()) };
        NonNull::new(context).map(Self)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the object is owned and live; nothing uses it after this.
        unsafe { sys::EVP_PKEY_CTX_free(self.0.as_ptr()) }
    }
}

/// Whether a function says that it did it. What it says otherwise is forgotten.
fn succeeded(code: i32) -> bool {
    if code != 1 {
        forget_errors();
    }
    code == 1
}

/// Empties this thread's queue of errors: nobody reads it.
fn forget_errors() {
    // SAFETY: the function takes nothing and touches what is this thread's own.
    unsafe { sys::ERR_clear_error() }
}
