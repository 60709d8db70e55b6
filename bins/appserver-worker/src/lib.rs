//! The template and worker processes of appserver, as a Python extension module.
