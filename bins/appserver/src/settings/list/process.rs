//! The configuration file, the sockets, and the process itself.

use super::{Kind, Preset, Section, in_file, setting, switch};

pub(super) const CONFIG: Section = Section {
    title: "Configuration",
    settings: &[
        setting(
            "config",
            &["-c", "--config"],
            "CONFIG",
            Kind::Text,
            Preset::Text("./gunicorn.conf.py"),
            "The configuration file: PATH, file:PATH or python:MODULE. It is Python and is executed; names in it that are no \
             settings are its own business.",
        ),
        in_file(
            "wsgi_app",
            Kind::Text,
            Preset::Nothing,
            "The application, when the command line does not name one: module, module:name or module:factory('literal').",
        ),
        setting(
            "python",
            &["--python"],
            "PATH",
            Kind::Text,
            Preset::Nothing,
            "The Python interpreter that runs the application. Without it, that of VIRTUAL_ENV, then python3 beside this \
             program, then python3 in PATH. Not a setting of gunicorn's, and not for the configuration file, which it runs.",
        ),
        switch(
            "check_config",
            &["--check-config"],
            "Read the configuration, import the application, and end: with 0 when both succeed, otherwise with 1.",
        ),
        switch(
            "print_config",
            &["--print-config"],
            "Print every setting as it is after everything was read, import the application, and end.",
        ),
    ],
};

pub(super) const SOCKET: Section = Section {
    title: "Sockets",
    settings: &[
        setting(
            "bind",
            &["-b", "--bind"],
            "ADDRESS",
            Kind::List,
            Preset::List(&["127.0.0.1:8000"]),
            "Where to listen: HOST:PORT, HOST, :PORT, [IPV6]:PORT, unix:PATH, unix:@NAME (abstract), fd://N or systemd:NAME; may be given \
             several times. The default is 0.0.0.0:$PORT when PORT is set. systemd:NAME is every socket that systemd has passed under that \
             name (FileDescriptorName= of the .socket unit, whose default is the name of the unit). Where no systemd:NAME is given, all \
             sockets of systemd take the place of bind, but those that metrics_bind or control_socket name.",
        ),
        setting(
            "backlog",
            &["--backlog"],
            "INT",
            Kind::Count,
            Preset::Number(2048),
            "How many connections may wait to be accepted, per socket.",
        ),
        switch(
            "reuse_port",
            &["--reuse-port"],
            "Let other servers listen on the same addresses (SO_REUSEPORT). Our own workers share one socket all the same, so \
             that no connection waits for a worker that is busy.",
        ),
    ],
};

pub(super) const PROCESS: Section = Section {
    title: "Process",
    settings: &[
        switch(
            "daemon",
            &["-D", "--daemon"],
            "Leave the terminal. The command ends when the workers are ready, or with the status of what went wrong.",
        ),
        setting(
            "pidfile",
            &["-p", "--pid"],
            "FILE",
            Kind::Text,
            Preset::Nothing,
            "A file that holds the master's process id while it runs. One that names a running process is left alone, and \
             the start fails.",
        ),
        setting(
            "chdir",
            &["--chdir"],
            "PATH",
            Kind::Folder,
            Preset::Nothing,
            "The folder to work in; it comes first on sys.path. The default is the present one. A relative path counts from \
             $PWD, and is looked up afresh at each reload, so that a symbolic link may lead to the next release.",
        ),
        setting(
            "pythonpath",
            &["--pythonpath"],
            "STRING",
            Kind::Text,
            Preset::Nothing,
            "Folders to put on sys.path, separated by commas.",
        ),
        setting(
            "raw_env",
            &["-e", "--env"],
            "ENV",
            Kind::List,
            Preset::List(&[]),
            "A variable for the environment of the application, NAME=VALUE; may be given several times.",
        ),
        setting(
            "user",
            &["-u", "--user"],
            "USER",
            Kind::User,
            Preset::Nothing,
            "The user that workers run as, by name or number; the default is the present one. Unix sockets and log files are \
             given to it.",
        ),
        setting(
            "group",
            &["-g", "--group"],
            "GROUP",
            Kind::Group,
            Preset::Nothing,
            "The group that workers run as, by name or number; the default is the present one.",
        ),
        switch(
            "initgroups",
            &["--initgroups"],
            "Workers get the supplementary groups of their user as well.",
        ),
        setting(
            "umask",
            &["-m", "--umask"],
            "INT",
            Kind::Mode,
            Preset::Number(0),
            "The file mode mask of unix sockets and of workers; octal with a leading 0. With the default, 0, everybody may \
             connect to a unix socket, and workers keep the mask that they were started with.",
        ),
        switch(
            "preload_app",
            &["--preload"],
            "Import the application once, before workers are forked: they share its memory and start at once. A reload \
             imports it afresh all the same.",
        ),
        setting(
            "sendfile",
            &["--no-sendfile"],
            "",
            Kind::SwitchOff,
            Preset::Nothing,
            "Do not send files with sendfile(2): the application's, and those of static; ASGI applications are not offered pathsend and \
             zerocopysend. The variable SENDFILE=no does the same.",
        ),
        setting(
            "proc_name",
            &["-n", "--name"],
            "STRING",
            Kind::Text,
            Preset::Nothing,
            "The name in the process list: \"gunicorn: master [NAME]\", \"gunicorn: template [NAME]\" (the Python process that workers are \
             forked from) and \"gunicorn: worker [NAME]\". Where the package setproctitle is installed, processes are called so without \
             this setting too, and NAME is the application; gunicorn needs the package in any case. syslog_prefix defaults to it.",
        ),
        in_file(
            "default_proc_name",
            Kind::Text,
            Preset::Text("appserver"),
            "An inner affair of gunicorn's.",
        )
        .accepted("it is never read"),
        setting(
            "worker_tmp_dir",
            &["--worker-tmp-dir"],
            "DIR",
            Kind::Text,
            Preset::Nothing,
            "Where gunicorn keeps the files by which workers show that they are alive.",
        )
        .accepted("workers show it in shared memory; there are no such files, and no slow disk can get in the way"),
        in_file(
            "tmp_upload_dir",
            Kind::Text,
            Preset::Nothing,
            "A folder for uploads, which gunicorn declares and does not use.",
        )
        .accepted("nothing reads it, in gunicorn neither"),
    ],
};
