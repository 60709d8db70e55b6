//! Which server answers where: sockets, default servers, names.

use std::collections::HashMap;
use std::sync::Arc;

use nginx_conf::{Fault, Severity, Span};

use super::blocks::{ChosenBy, Compiler};
use crate::engine::names::{ServerName, ServerNames};
use crate::engine::ports::{Listen, ListenAddress};
use crate::engine::site::Port;

impl Compiler<'_> {
    pub(super) fn ports(&mut self, servers: Vec<ChosenBy>) -> (Vec<Port>, Vec<Listen>) {
        let mut listens: Vec<Listen> = Vec::new();
        let mut ports: Vec<Port> = Vec::new();
        let mut defaults: HashMap<ListenAddress, Span> = HashMap::new();
        for chosen in servers {
            let mut of_server: Vec<ListenAddress> = Vec::new();
            for (listen, line) in &chosen.listens {
                let address = &listen.address;
                if of_server.contains(address) {
                    let fault =
                        Fault::new(format!("a duplicate listen {address}")).at(line.address.span);
                    self.shared.faults.push(fault.help("keep one of the lines"));
                    continue;
                }
                of_server.push(address.clone());
                let at = ports
                    .iter()
                    .position(|port| port.address == *address)
                    .unwrap_or_else(|| {
                        listens.push(listen.clone());
                        ports.push(Port {
                            address: address.clone(),
                            names: ServerNames::default(),
                            default: Arc::clone(&chosen.server),
                        });
                        ports.len() - 1
                    });
                if line.default_server {
                    ports[at].default = Arc::clone(&chosen.server);
                    if let Some(first) = defaults.insert(address.clone(), line.address.span) {
                        let fault = Fault::new(format!("a duplicate default server for {address}"))
                            .at(line.address.span);
                        self.shared.faults.push(
                            fault
                                .note(first, "first one here")
                                .help("take \"default_server\" out of one of the lines"),
                        );
                    }
                }
                self.add_names(&mut ports[at], &chosen);
            }
        }
        // A wildcard socket brings the connections of the addresses below it.
        let needed = listens
            .iter()
            .filter(|listen| !listens.iter().any(|other| other.covers(listen)))
            .cloned()
            .collect();
        (ports, needed)
    }

    fn add_names(&mut self, port: &mut Port, chosen: &ChosenBy) {
        for name in &chosen.names {
            if !port
                .names
                .add(name.value.clone(), Arc::clone(&chosen.server))
            {
                let text = match &name.value {
                    ServerName::Exact(text) | ServerName::Both(text) => text.clone(),
                    ServerName::Leading(text) => format!("*{text}"),
                    ServerName::Trailing(text) => format!("{text}*"),
                    ServerName::Pattern(_) => continue,
                };
                let message = format!(
                    "conflicting server name \"{text}\" on {}, ignored",
                    port.address
                );
                self.shared
                    .faults
                    .push(Fault::new(message).severity(Severity::Warn).at(name.span));
            }
        }
    }
}
