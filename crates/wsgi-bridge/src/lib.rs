//! PEP 3333 between HTTP and Python.
