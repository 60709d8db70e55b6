//! What is loaded before the fork stays shared: CPython's immortal objects (PEP 683).
//!
//! Whoever looks at an object in Python writes to it, for it counts the references. So the pages of an application that was loaded in
//! the template become each worker's own one by one. CPython 3.12 and newer count no references of an object whose count has the
//! value that `None` has. The template gives that count to what is alive before the first fork and never missed:
//!
//! - text, bytes, numbers and code;
//! - types, their dictionaries and those of modules, descriptors: they are held by cycles that `gc.freeze()` keeps the collector from;
//! - functions, properties and tuples, *if all that they hold is of these kinds*.
//!
//! All else stays as it is: what has a finaliser, or could hold what has one, now or later (instances, lists, dictionaries), and functions
//! that are referred to weakly. An application notices by `sys.getrefcount` only. The process of a reload is a new one: nothing adds up.
//!
//! The one assumption about the layout of objects is that `ob_refcnt` comes first, in 64 bits whose lower half is the count that is
//! compared (so in `object.h` of 3.12 and 3.13). [`unfit`] asks the interpreter for what it is and [`count_of_immortals`] tries that on
//! an object of its own first; otherwise nothing is touched.

mod table;

use std::collections::HashMap;
use std::ffi::{c_int, c_void};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySlice, PyTuple, PyType};

use self::table::{Mark, Table};

/// Makes what is alive and never missed immortal. Gives how many objects that were, or why there are none.
///
/// # Errors
/// Python's, from asking it what is alive, and the system's, where there is no memory.
pub(crate) fn make_immortal(py: Python<'_>) -> PyResult<Result<usize, String>> {
    if let Some(reason) = unfit(py)? {
        return Ok(Err(reason));
    }
    let Some(count) = count_of_immortals(py) else {
        let words = "its reference counts are not where they were looked for";
        return Ok(Err(words.to_owned()));
    };
    let mut marked = find(py)?;
    leave_what_may_be_missed(py, &mut marked)?;
    let mut objects = 0;
    for mark in [Mark::Chosen, Mark::Holder] {
        for address in marked.marked(mark) {
            // SAFETY: it was alive when it was found, nothing has gone away since, and the layout was tried.
            unsafe { set_count(address as *mut PyObject, count) };
            objects += 1;
        }
    }
    Ok(Ok(objects))
}

/// Why this interpreter is left alone.
fn unfit(py: Python<'_>) -> PyResult<Option<String>> {
    let sys = py.import("sys")?;
    let (major, minor): (u8, u8) = sys
        .getattr("version_info")?
        .get_item(PySlice::new(py, 0, 2, 1))?
        .extract()?;
    let name: String = sys.getattr("implementation")?.getattr("name")?.extract()?;
    // A "d" counts what is left at the end, a "t" counts references in two places.
    let flags: String = sys.getattr("abiflags")?.extract()?;
    if name != "cpython" || !matches!((major, minor), (3, 12..=13)) {
        return Ok(Some(format!(
            "not done for {name} {major}.{minor}, only for CPython 3.12 and 3.13"
        )));
    }
    if !flags.is_empty() || sys.hasattr("getobjects")? || cfg!(not(target_pointer_width = "64")) {
        return Ok(Some(format!(
            "not done for this build of Python (flags \"{flags}\")"
        )));
    }
    // A thread may be in the midst of making a tuple or a text, which has to be its maker's alone until it is made.
    let threads = sys.call_method0("_current_frames")?.len()?;
    if threads > 1 {
        return Ok(Some(format!(
            "the application has started threads ({})",
            threads - 1
        )));
    }
    Ok(None)
}

/// The count that makes immortal, after a fresh object has shown that it does.
fn count_of_immortals(py: Python<'_>) -> Option<u32> {
    let probe = PyDict::new(py);
    let probe = probe.as_ptr();
    // SAFETY: all of it on two live objects, the second of which nobody else knows; it gets its own count back.
    unsafe {
        let count = low_half(*ffi::Py_None().cast::<u64>());
        let fresh = *probe.cast::<u64>();
        if count.cast_signed() >= 0 || fresh != 1 {
            return None;
        }
        ffi::Py_IncRef(probe);
        let counts = *probe.cast::<u64>() == 2;
        ffi::Py_DecRef(probe);
        if !counts || *probe.cast::<u64>() != 1 {
            return None;
        }
        set_count(probe, count);
        let made = *probe.cast::<u64>();
        ffi::Py_IncRef(probe);
        let up = *probe.cast::<u64>();
        ffi::Py_DecRef(probe);
        ffi::Py_DecRef(probe);
        let down = *probe.cast::<u64>();
        *probe.cast::<u64>() = fresh;
        (low_half(made) == count && up == made && down == made).then_some(count)
    }
}

fn low_half(count: u64) -> u32 {
    (count & u64::from(u32::MAX)) as u32
}

fn is_immortal(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a live object, whose first field was tried.
    low_half(unsafe { *object.as_ptr().cast::<u64>() }).cast_signed() < 0
}

/// # Safety
/// The object is live, and has the layout that [`count_of_immortals`] has tried. The GIL is held.
unsafe fn set_count(object: *mut PyObject, count: u32) {
    // SAFETY: `ob_refcnt` is the first field.
    unsafe {
        let field = object.cast::<u64>();
        if low_half(*field).cast_signed() >= 0 {
            *field = *field & !u64::from(u32::MAX) | u64::from(count);
        }
    }
}

/// What becomes of objects of a type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Holds nothing: immortal.
    Simple,
    /// As well, and what it holds is got by name.
    Code,
    /// Immortal whatever it holds.
    Lasting,
    /// As well, and its dictionary with it.
    Type,
    /// Its dictionary only: a module that is left at the end of the interpreter has its names cleared under those who have them still.
    Module,
    /// Immortal if all that it holds is.
    Holder,
    /// As well, if nobody refers to it weakly, and so would wait for its end.
    Function,
    /// Stays as it is, but is no hindrance to its holder if all that it holds is immortal: the attributes of a function.
    Dict,
    Other,
}

const KINDS: [(Kind, &str, &[&str]); 9] = [
    (
        Kind::Simple,
        "builtins",
        &["str", "bytes", "int", "float", "complex", "object"],
    ),
    (Kind::Code, "types", &["CodeType"]),
    (
        Kind::Lasting,
        "types",
        &[
            "MethodDescriptorType",
            "ClassMethodDescriptorType",
            "GetSetDescriptorType",
            "MemberDescriptorType",
            "WrapperDescriptorType",
        ],
    ),
    (
        Kind::Holder,
        "builtins",
        &[
            "tuple",
            "frozenset",
            "property",
            "staticmethod",
            "classmethod",
        ],
    ),
    (Kind::Holder, "types", &["CellType", "BuiltinFunctionType"]),
    (Kind::Module, "types", &["ModuleType"]),
    // Every `import` within a function looks at one.
    (Kind::Lasting, "_frozen_importlib", &["ModuleSpec"]),
    (Kind::Function, "types", &["FunctionType"]),
    (Kind::Dict, "builtins", &["dict"]),
];

/// Types by address. Objects of what derives from one of them are others.
struct Kinds<'py> {
    of: HashMap<usize, Kind>,
    weak_references: Bound<'py, PyAny>,
}

impl<'py> Kinds<'py> {
    fn new(py: Python<'py>) -> PyResult<Self> {
        let mut of = HashMap::new();
        for (kind, module, names) in KINDS {
            for name in names {
                let found = py.import(module)?.getattr(*name)?;
                of.insert(found.as_ptr().addr(), kind);
            }
        }
        Ok(Self {
            of,
            weak_references: py.import("_weakref")?.getattr("getweakrefcount")?,
        })
    }

    fn of(&self, object: &Bound<'py, PyAny>) -> PyResult<Kind> {
        if object.is_instance_of::<PyType>() {
            return Ok(Kind::Type);
        }
        let kind = self.of.get(&object.get_type_ptr().addr()).copied();
        let weak = || self.weak_references.call1((object,))?.extract::<usize>();
        Ok(match kind.unwrap_or(Kind::Other) {
            // As `None` and `True` are.
            Kind::Other if is_immortal(object) => Kind::Lasting,
            Kind::Function if weak()? > 0 => Kind::Other,
            kind => kind,
        })
    }
}

/// Marks all that is alive. None of it goes away meanwhile: no code of anybody else runs.
///
/// It begins with what the collector knows; what it doesn't (texts, numbers, code) is held by that.
fn find(py: Python<'_>) -> PyResult<Table> {
    let kinds = Kinds::new(py)?;
    let objects = py.import("gc")?.call_method0("get_objects")?;
    let mut marked = Table::with_room(objects.len()? * 4)?;
    marked.set(objects.as_ptr().addr(), Mark::Left)?;
    let mut open: Vec<usize> = Vec::new();
    for object in objects.try_iter()? {
        open.push(object?.as_ptr().addr());
        while let Some(address) = open.pop() {
            if marked.mark(address).is_none() {
                // SAFETY: alive, for what is alive has named it, and nothing has run since.
                let object = unsafe { Bound::from_borrowed_ptr(py, address as *mut PyObject) };
                mark(&object, kinds.of(&object)?, &mut marked, &mut open)?;
            }
        }
    }
    Ok(marked)
}

/// Marks an object, and adds what it holds to those that are to be marked.
fn mark(
    object: &Bound<'_, PyAny>,
    kind: Kind,
    marked: &mut Table,
    open: &mut Vec<usize>,
) -> PyResult<()> {
    let address = object.as_ptr().addr();
    let mark = match kind {
        Kind::Simple | Kind::Code | Kind::Lasting | Kind::Type => Mark::Chosen,
        Kind::Module => Mark::Spared,
        Kind::Holder | Kind::Function => Mark::Holder,
        Kind::Dict => Mark::Dict,
        Kind::Other => Mark::Left,
    };
    marked.set(address, mark)?;
    match kind {
        Kind::Simple | Kind::Type | Kind::Module => {}
        Kind::Code => parts_of_code(object, open)?,
        _ => held_by(object, open),
    }
    if matches!(kind, Kind::Type | Kind::Module) {
        // Whether their turn comes before it or after it.
        let from = open.len();
        held_by(object, open);
        for at in from..open.len() {
            // SAFETY: alive, as what holds it.
            let held = unsafe { Bound::from_borrowed_ptr(object.py(), open[at] as *mut PyObject) };
            if held.is_exact_instance_of::<PyDict>() && marked.mark(open[at]) != Some(Mark::Chosen)
            {
                marked.set(open[at], Mark::Chosen)?;
                held_by(&held, open);
            }
        }
    }
    Ok(())
}

/// Leaves holders alone that hold what is left alone; more may follow from that.
fn leave_what_may_be_missed(py: Python<'_>, marked: &mut Table) -> PyResult<()> {
    let mut held = Vec::new();
    let mut left = Vec::new();
    loop {
        for address in marked.marked(Mark::Holder).chain(marked.marked(Mark::Dict)) {
            // SAFETY: as where it was found.
            let object = unsafe { Bound::from_borrowed_ptr(py, address as *mut PyObject) };
            held.clear();
            held_by(&object, &mut held);
            let stays = |it: &usize| matches!(marked.mark(*it), None | Some(Mark::Left));
            if held.iter().any(stays) {
                left.push(address);
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        for address in left.drain(..) {
            marked.set(address, Mark::Left)?;
        }
    }
}

/// The objects that code runs with. The names of its variables are interned, and immortal without us.
fn parts_of_code(code: &Bound<'_, PyAny>, parts: &mut Vec<usize>) -> PyResult<()> {
    const PARTS: [&str; 7] = [
        "co_consts",
        "co_names",
        "co_filename",
        "co_name",
        "co_qualname",
        "co_linetable",
        "co_exceptiontable",
    ];
    for name in PARTS {
        // These are the code's own objects, which live as long as it does.
        parts.push(code.getattr(name)?.as_ptr().addr());
    }
    Ok(())
}

/// Adds what an object tells the collector that it holds.
fn held_by(object: &Bound<'_, PyAny>, held: &mut Vec<usize>) {
    unsafe extern "C" fn visit(object: *mut PyObject, held: *mut c_void) -> c_int {
        // SAFETY: the vector that `held_by` has borrowed, for as long as the call takes.
        unsafe { (*held.cast::<Vec<usize>>()).push(object.addr()) };
        0
    }
    // Others than these two are asked only while the collector knows them: a type that is on no heap must not be.
    // SAFETY: a live object.
    let known = unsafe { ffi::PyObject_GC_IsTracked(object.as_ptr()) } == 1;
    if !known
        && !object.is_exact_instance_of::<PyTuple>()
        && !object.is_exact_instance_of::<PyDict>()
    {
        return;
    }
    // SAFETY: a type's slot of this number is a `traverseproc` or null; it is called as the collector calls it, with the GIL held.
    unsafe {
        let slot = ffi::PyType_GetSlot(object.get_type_ptr(), ffi::Py_tp_traverse);
        if !slot.is_null() {
            let traverse: ffi::traverseproc = std::mem::transmute(slot);
            traverse(object.as_ptr(), visit, std::ptr::from_mut(held).cast());
        }
    }
}
