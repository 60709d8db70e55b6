//! The manual page, made from the list (`--man-page`; kept in `packaging/man`).

use super::{SECTIONS, Setting, Support, print::shown_default};

/// The whole page.
pub(crate) fn page() -> String {
    let mut text = format!(
        ".TH APPSERVER 1 \"\" \"appserver {}\" \"User Commands\"\n\
         .SH NAME\nappserver \\- serve a Python application in gunicorn's place\n\
         .SH SYNOPSIS\n.B appserver\n[\\fIOPTIONS\\fR] [\\fIAPP_MODULE\\fR]\n.br\n\
         .B appserver ctl\n[\\fB\\-s\\fR \\fISOCKET\\fR] [\\fB\\-j\\fR] \\fICOMMAND\\fR\n\
         .SH DESCRIPTION\nRuns a WSGI application by the interpreter of its own virtual environment. Options, configuration file \
         and signals are those of gunicorn. APP_MODULE is module, module:name or module:factory('literal'). Later places win: \
         defaults, variables, the configuration file, GUNICORN_CMD_ARGS, the command line.\n\
         .PP\nWith\n.BR ctl ,\nasks a running server by its control socket; appserver ctl help lists the commands.\n",
        crate::VERSION
    );
    for section in SECTIONS {
        let settings = || {
            section
                .settings
                .iter()
                .filter(|setting| has_effect(setting))
        };
        if settings().next().is_none() {
            continue;
        }
        text.push_str(&format!(".SH {}\n", section.title.to_uppercase()));
        settings().for_each(|setting| entry(&mut text, setting));
    }
    text.push_str(
        ".SH FILES\n.TP\n.I gunicorn.conf.py\nThe configuration file in the present folder, unless \\-c names another one.\n\
         .SH SIGNALS\nHUP reloads, TERM ends gracefully, INT and QUIT quickly, TTIN and TTOU change the number of workers, USR1 opens \
         the logs again, USR2 starts a new binary.\n\
         .SH EXIT STATUS\n0 after a normal end, 1 for a fault of the configuration, 2 for a command line that is not understood, 3 when \
         no worker boots, 4 when the application is not found.\n\
         .SH SEE ALSO\n.BR edge (1)\n",
    );
    text
}

fn has_effect(setting: &Setting) -> bool {
    setting.support == Support::Works
}

fn entry(text: &mut String, setting: &Setting) {
    let flags: Vec<_> = setting
        .flags
        .iter()
        .map(|flag| match setting.takes_value() {
            true => format!("\\fB{}\\fR \\fI{}\\fR", escaped(flag), setting.metavar),
            false => format!("\\fB{}\\fR", escaped(flag)),
        })
        .collect();
    let heading = match flags.is_empty() {
        true => format!("\\fB{}\\fR (configuration file)", escaped(setting.name)),
        false => flags.join(", "),
    };
    let default = match setting.takes_value() && !setting.flags.is_empty() {
        true => format!(" Default {}.", escaped(&shown_default(setting))),
        false => String::new(),
    };
    text.push_str(&format!(
        ".TP\n{heading}\n{}{default}\n",
        escaped(setting.doc)
    ));
}

/// Text that troff leaves as it is.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_that_works_is_in_the_page_in_packaging() {
        let page = page();
        for setting in super::super::all().filter(|setting| has_effect(setting)) {
            for flag in setting.flags {
                assert!(
                    page.contains(&format!("\\fB{}\\fR", escaped(flag))),
                    "{flag}"
                );
            }
        }
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../packaging/man/appserver.1"
        );
        let there = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            there == page,
            "packaging/man/appserver.1 is out of date: cargo xtask docs"
        );
    }
}
