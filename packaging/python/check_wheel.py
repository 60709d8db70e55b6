"""Looks into wheels of appserver: check_wheel.py FOR_EVERYBODY.whl BY_PIP.whl

The first is what maturin makes for other machines, the second what `pip wheel .` makes for this one. Both must hold the same, and no
more than belongs there.
"""

import pathlib
import re
import sys
import zipfile

NAME = "viaduct_appserver"
EXPECTED = {
    "appserver/__init__.py",
    "appserver/__main__.py",
    "appserver/viaduct_worker.abi3.so",
    "{}.data/scripts/appserver",
    "{}.dist-info/METADATA",
    "{}.dist-info/RECORD",
    "{}.dist-info/WHEEL",
    "{}.dist-info/licenses/LICENSE-APACHE",
    "{}.dist-info/licenses/LICENSE-MIT",
}


def main():
    everybody, by_pip = (Wheel(path) for path in sys.argv[1:3])
    for wheel in (everybody, by_pip):
        wheel.check()
    same(everybody.tag[:2], ("cp39", "abi3"), "the tag")
    same(by_pip.tag, ("cp39", "abi3", by_pip.tag[2]), "the tag of pip's")
    platform = re.fullmatch(r"manylinux_2_(\d+)_(\w+)", everybody.tag[2])
    assert platform, "%s is for no manylinux" % everybody.path.name
    assert by_pip.tag[2] == "linux_" + platform[2], by_pip.path.name
    for name in ("appserver/viaduct_worker.abi3.so", "%s.data/scripts/appserver" % everybody.stem):
        needs = max(int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", everybody.read(name)))
        assert needs <= int(platform[1]), "%s needs glibc 2.%d, the tag says %s" % (name, needs, platform[1])
    print("both hold what they should")


class Wheel:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.archive = zipfile.ZipFile(path)
        name, self.version, *tag = self.path.stem.split("-")
        assert name == NAME, name
        self.tag = tuple(tag)
        self.stem = "%s-%s" % (NAME, self.version)

    def read(self, name):
        return self.archive.read(name)

    def check(self):
        names = {name for name in self.archive.namelist() if "/sboms/" not in name}
        same(names, {name.format(self.stem) for name in EXPECTED}, "the files of %s" % self.path.name)
        program = self.archive.getinfo("%s.data/scripts/appserver" % self.stem)
        assert program.external_attr >> 16 & 0o111 == 0o111, "the program is not executable"
        assert self.read(program.filename)[:4] == b"\x7fELF"
        metadata = self.read("%s.dist-info/METADATA" % self.stem).decode()
        fields = metadata.partition("\n\n")[0].splitlines()
        for field in ("Name: viaduct-appserver", "Version: %s" % self.version, "Requires-Python: >=3.9"):
            assert field in fields, "%r is not in %r" % (field, fields)
        assert not [field for field in fields if field.startswith("Requires-Dist")], "it needs nothing else"


def same(found, expected, what):
    assert found == expected, "%s: %r, expected %r" % (what, found, expected)


main()
