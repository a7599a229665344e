//! The module itself: SoftHSM's function list with every function that the node calls replaced by
//! one that looks at the control file first.
#![allow(non_snake_case, reason = "the standard's names")]
#![allow(clippy::too_many_arguments, reason = "the standard's functions")]
#![allow(clippy::missing_safety_doc, reason = "PKCS#11 is the contract")]

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use cryptoki_sys::*;

use crate::control::{self, Faults};
use crate::{CONTROL_VARIABLE, softhsm};

/// The real functions and ours, for the life of the process.
struct Lists {
    /// Keeps the library loaded.
    _library: Pkcs11,
    real: CK_FUNCTION_LIST,
    ours: Mutex<CK_FUNCTION_LIST>,
}

// SAFETY: function pointers into a library that stays loaded.
unsafe impl Send for Lists {}
// SAFETY: as above; `ours` is handed out by address and never changed.
unsafe impl Sync for Lists {}

static LISTS: OnceLock<Option<Lists>> = OnceLock::new();
/// The writing of the control file whose `fail_once` has happened.
static FAILED_AT: AtomicU64 = AtomicU64::new(0);

fn lists() -> Option<&'static Lists> {
    LISTS.get_or_init(load).as_ref()
}

fn real() -> &'static CK_FUNCTION_LIST {
    &lists().expect("a function was called, so the list was given out").real
}

fn control_file() -> PathBuf {
    std::env::var_os(CONTROL_VARIABLE).map(PathBuf::from).unwrap_or_default()
}

/// What goes wrong in this function now; notes the call.
fn told(function: &str) -> (u64, Faults) {
    let path = control_file();
    let calls = control::calls_path(&path);
    if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(calls) {
        let _ = file.write_all(format!("{function}\n").as_bytes());
    }
    let (write, mut faults) = control::read(&path);
    if !faults.functions.is_empty() && !faults.functions.iter().any(|name| name == function) {
        let Faults { token_flags, iv_by_token, .. } = faults;
        faults = Faults { token_flags, iv_by_token, ..Faults::default() };
    }
    (write, faults)
}

/// Waits and hangs as told; gives what to answer instead of calling, if anything.
fn before(function: &str) -> Option<CK_RV> {
    let (mut write, mut faults) = told(function);
    std::thread::sleep(Duration::from_millis(faults.delay_ms));
    while faults.hang {
        std::thread::sleep(Duration::from_millis(20));
        (write, faults) = control::read(&control_file());
    }
    if let Some(code) = faults.fail_always {
        return Some(code as CK_RV);
    }
    let code = faults.fail_once?;
    (FAILED_AT.swap(write, Ordering::SeqCst) != write).then_some(code as CK_RV)
}

macro_rules! forwarded {
    ($($name:ident($($arg:ident: $kind:ty),* $(,)?);)*) => {
        $(
            unsafe extern "C" fn $name($($arg: $kind),*) -> CK_RV {
                if let Some(code) = before(stringify!($name)) {
                    return code;
                }
                match real().$name {
                    // SAFETY: the caller's arguments, as they came.
                    Some(function) => unsafe { function($($arg),*) },
                    None => CKR_FUNCTION_NOT_SUPPORTED,
                }
            }
        )*

        fn replaced(mut list: CK_FUNCTION_LIST) -> CK_FUNCTION_LIST {
            $(list.$name = Some($name);)*
            list
        }
    };
}

forwarded! {
    C_Initialize(args: CK_VOID_PTR);
    C_Finalize(reserved: CK_VOID_PTR);
    C_GetSlotList(present: CK_BBOOL, slots: CK_SLOT_ID_PTR, count: CK_ULONG_PTR);
    C_GetMechanismList(slot: CK_SLOT_ID, list: CK_MECHANISM_TYPE_PTR, count: CK_ULONG_PTR);
    C_GetMechanismInfo(slot: CK_SLOT_ID, kind: CK_MECHANISM_TYPE, info: CK_MECHANISM_INFO_PTR);
    C_OpenSession(slot: CK_SLOT_ID, flags: CK_FLAGS, application: CK_VOID_PTR, notify: CK_NOTIFY,
        session: CK_SESSION_HANDLE_PTR);
    C_CloseSession(session: CK_SESSION_HANDLE);
    C_GetSessionInfo(session: CK_SESSION_HANDLE, info: CK_SESSION_INFO_PTR);
    C_Login(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: CK_UTF8CHAR_PTR, len: CK_ULONG);
    C_FindObjectsInit(session: CK_SESSION_HANDLE, template: CK_ATTRIBUTE_PTR, count: CK_ULONG);
    C_FindObjects(session: CK_SESSION_HANDLE, objects: CK_OBJECT_HANDLE_PTR, max: CK_ULONG,
        count: CK_ULONG_PTR);
    C_FindObjectsFinal(session: CK_SESSION_HANDLE);
    C_GetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE,
        template: CK_ATTRIBUTE_PTR, count: CK_ULONG);
    C_GenerateKey(session: CK_SESSION_HANDLE, mechanism: CK_MECHANISM_PTR,
        template: CK_ATTRIBUTE_PTR, count: CK_ULONG, key: CK_OBJECT_HANDLE_PTR);
    C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE);
    C_Encrypt(session: CK_SESSION_HANDLE, data: CK_BYTE_PTR, len: CK_ULONG, out: CK_BYTE_PTR,
        out_len: CK_ULONG_PTR);
    C_DecryptInit(session: CK_SESSION_HANDLE, mechanism: CK_MECHANISM_PTR, key: CK_OBJECT_HANDLE);
    C_Decrypt(session: CK_SESSION_HANDLE, data: CK_BYTE_PTR, len: CK_ULONG, out: CK_BYTE_PTR,
        out_len: CK_ULONG_PTR);
}

/// Shows flags of the PIN that SoftHSM never sets.
unsafe extern "C" fn C_GetTokenInfo(slot: CK_SLOT_ID, info: CK_TOKEN_INFO_PTR) -> CK_RV {
    if let Some(code) = before("C_GetTokenInfo") {
        return code;
    }
    let Some(function) = real().C_GetTokenInfo else { return CKR_FUNCTION_NOT_SUPPORTED };
    // SAFETY: the caller's arguments, as they came.
    let code = unsafe { function(slot, info) };
    let (_, faults) = control::read(&control_file());
    if code == CKR_OK && !info.is_null() {
        // SAFETY: the call succeeded, so it points to a CK_TOKEN_INFO.
        unsafe { (*info).flags |= faults.token_flags as CK_FLAGS };
    }
    code
}

/// Chooses the initialisation vector, if told to: what the application gives must be zeros, and is
/// written over, as AWS CloudHSM does.
unsafe extern "C" fn C_EncryptInit(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    if let Some(code) = before("C_EncryptInit") {
        return code;
    }
    let Some(function) = real().C_EncryptInit else { return CKR_FUNCTION_NOT_SUPPORTED };
    let (_, faults) = control::read(&control_file());
    // SAFETY: the caller's mechanism, if it gave one.
    let is_gcm = !mechanism.is_null() && unsafe { (*mechanism).mechanism } == CKM_AES_GCM;
    if faults.iv_by_token && is_gcm {
        // SAFETY: with this mechanism the parameter is a CK_GCM_PARAMS that names an IV so long.
        let iv = unsafe {
            let params = (*mechanism).pParameter.cast::<CK_GCM_PARAMS>();
            std::slice::from_raw_parts_mut((*params).pIv, (*params).ulIvLen as usize)
        };
        if iv.iter().any(|byte| *byte != 0) {
            return CKR_MECHANISM_PARAM_INVALID;
        }
        let Some(random) = real().C_GenerateRandom else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: room for as many bytes.
        let code = unsafe { random(session, iv.as_mut_ptr(), iv.len() as CK_ULONG) };
        if code != CKR_OK {
            return code;
        }
    }
    // SAFETY: the caller's arguments.
    unsafe { function(session, mechanism, key) }
}

fn load() -> Option<Lists> {
    // SAFETY: SoftHSM's own initialisers.
    let library = unsafe { Pkcs11::new(softhsm::module()) }.ok()?;
    let mut list = std::ptr::null_mut();
    // SAFETY: room for one pointer.
    let code = unsafe { library.C_GetFunctionList(&mut list) };
    if code != CKR_OK || list.is_null() {
        return None;
    }
    // SAFETY: the call succeeded, so it points to a function list.
    let real = unsafe { *list };
    let mut ours = replaced(real);
    ours.C_GetTokenInfo = Some(C_GetTokenInfo);
    ours.C_EncryptInit = Some(C_EncryptInit);
    Some(Lists { _library: library, real, ours: Mutex::new(ours) })
}

/// The one function that a loader looks for.
///
/// # Safety
/// `list` is null or has room for a pointer.
#[unsafe(no_mangle)]
#[expect(unreachable_pub, reason = "exported by its name")]
pub unsafe extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    let Some(lists) = lists() else { return CKR_GENERAL_ERROR };
    let ours =
        lists.ours.lock().map_or(std::ptr::null_mut(), |mut ours| std::ptr::from_mut(&mut *ours));
    // SAFETY: see above. What is pointed to lives in a static.
    unsafe { *list = ours };
    CKR_OK
}
