//! For people at their desks.

use super::{Kind, Preset, Section, setting, switch};

pub(super) const DEVELOPMENT: Section = Section {
    title: "Development",
    settings: &[
        switch(
            "reload",
            &["--reload"],
            "Reload when a file of the application changes. A file that does not load shows its traceback in the browser.",
        ),
        setting(
            "reload_engine",
            &["--reload-engine"],
            "STRING",
            Kind::Choice(&["auto", "poll", "inotify"]),
            Preset::Text("auto"),
            "How changes are noticed.",
        )
        .accepted("there is one way: the times of the files are compared every second"),
        setting(
            "reload_extra_files",
            &["--reload-extra-file"],
            "FILES",
            Kind::Files,
            Preset::List(&[]),
            "More files to watch, or patterns; may be given several times.",
        ),
        switch(
            "spew",
            &["--spew"],
            "Print every line of Python that is run.",
        )
        .refused("it is a toy; use python -m trace, or a debugger"),
    ],
};
