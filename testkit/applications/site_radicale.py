"""Radicale, a CalDAV server; its documentation: `gunicorn --bind '127.0.0.1:5232' --env 'RADICALE_CONFIG=/etc/radicale/config'
--workers 8 radicale`: the methods and documents of WebDAV."""

from visit import expect

COMMAND = ["gunicorn", "--env", "RADICALE_CONFIG={folder}/config", "--workers", "8", "radicale"]
# Tags are made of contents and times.
MASKS = [(r'"[0-9a-f]{32,64}"', '"TAG"'), (r"sync/[0-9a-f]{32,64}", "sync/TOKEN"), (r"\w{3}, \d\d \w{3} \d{4} [\d:]+ GMT", "TIME")]
ANA = {"authorization": "Basic YW5hOnNlY3JldA=="}

CONFIGURATION = """
[auth]
type = htpasswd
htpasswd_filename = {folder}/users
htpasswd_encryption = plain
delay = 0
[storage]
filesystem_folder = {folder}/collections
[logging]
level = warning
"""

EVENT = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//test//EN\r
BEGIN:VEVENT\r
UID:event-1\r
DTSTAMP:20260101T000000Z\r
DTSTART:20260105T100000Z\r
DTEND:20260105T110000Z\r
SUMMARY:Übergabe\r
END:VEVENT\r
END:VCALENDAR\r
"""

CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:card-1\r\nFN:Ana Žalm\r\nN:Žalm;Ana;;;\r\nEND:VCARD\r\n"

MAKE = """<?xml version="1.0"?>
<create xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><set><prop>
<resourcetype><collection/><C:addressbook/></resourcetype><displayname>People</displayname></prop></set></create>"""

PROPERTIES = """<?xml version="1.0"?><propfind xmlns="DAV:"><prop><displayname/><resourcetype/><getetag/><getcontenttype/>
<current-user-principal/></prop></propfind>"""

QUERY = """<?xml version="1.0"?><C:calendar-query xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><prop><getetag/><C:calendar-data/>
</prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range start="20260101T000000Z"
end="20260201T000000Z"/></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>"""

RENAME = '<?xml version="1.0"?><propertyupdate xmlns="DAV:"><set><prop><displayname>Dates</displayname></prop></set></propertyupdate>'


def prepare(folder, venv, environment):
    (folder / "config").write_text(CONFIGURATION.format(folder=folder))
    (folder / "users").write_text("ana:secret\n")


def visit(site):
    xml = {"content_type": "application/xml", **ANA}
    expect(site.get("/"), 302)
    expect(site.get("/.web/"), 200, "Radicale")
    expect(site.ask("OPTIONS", "/ana/"), 200)
    expect(site.ask("PROPFIND", "/ana/", PROPERTIES, depth="0", content_type="application/xml"), 401)
    expect(site.ask("PROPFIND", "/ana/", PROPERTIES, depth="0", **xml), 207, "current-user-principal")
    expect(site.ask("MKCALENDAR", "/ana/dates/", b"", **ANA), 201)
    expect(site.ask("MKCOL", "/ana/people/", MAKE, **xml), 201)
    expect(site.ask("PUT", "/ana/dates/event-1.ics", EVENT.encode(), content_type="text/calendar; charset=utf-8", **ANA), 201)
    expect(site.ask("PUT", "/ana/people/card-1.vcf", CARD.encode(), content_type="text/vcard; charset=utf-8", **ANA), 201)
    expect(site.ask("PUT", "/ana/dates/broken.ics", b"no calendar", content_type="text/calendar", **ANA), 400)
    expect(site.get("/ana/dates/event-1.ics", **ANA), 200, "Übergabe")
    expect(site.ask("HEAD", "/ana/dates/event-1.ics", **ANA), 200)
    expect(site.ask("REPORT", "/ana/dates/", QUERY, depth="1", **xml), 207, "Übergabe")
    expect(site.ask("PROPFIND", "/ana/", PROPERTIES, depth="1", **xml), 207, "People")
    expect(site.ask("PROPPATCH", "/ana/dates/", RENAME, **xml), 207)
    expect(site.ask("MOVE", "/ana/dates/event-1.ics", b"", destination="/ana/dates/moved.ics", **ANA), 201)
    expect(site.get("/ana/dates/", **ANA), 200, "BEGIN:VCALENDAR")
    expect(site.get("/ana/dates/event-1.ics", **ANA), 404)
    expect(site.ask("DELETE", "/ana/dates/moved.ics", if_match='"wrong"', **ANA), 412)
    expect(site.ask("DELETE", "/ana/dates/moved.ics", **ANA), 200)
    expect(site.ask("DELETE", "/ana/people/", **ANA), 200)
