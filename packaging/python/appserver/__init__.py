"""The application server of Viaduct. The program is `appserver`; `python -m appserver` starts it with this very interpreter."""
