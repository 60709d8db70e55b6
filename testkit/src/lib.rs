//! Scripted peers, a virtual clock and the scenario runner of the tests.
